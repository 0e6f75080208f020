-- The products that users log in to. A product serves every tenant, so its registration belongs to none.
CREATE TABLE auth.clients (
    client_id text NOT NULL CHECK (client_id ~ '^[a-z0-9][a-z0-9_.-]{2,63}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    auth_method text NOT NULL CHECK (auth_method IN ('none', 'client_secret_basic', 'client_secret_post')),
    redirect_uris text[] NOT NULL CHECK (cardinality(redirect_uris) BETWEEN 1 AND 20),
    post_logout_redirect_uris text[] NOT NULL DEFAULT '{}',
    scopes text[] NOT NULL,
    may_refresh boolean NOT NULL,
    may_introspect boolean NOT NULL DEFAULT false,
    requires_second_factor boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (client_id),
    CHECK (NOT may_introspect OR auth_method <> 'none')
);
COMMENT ON TABLE auth.clients IS 'rls:exempt a product serves every tenant';

-- Secrets are 256 random bits, so their SHA-256 needs no salt and no slowness.
CREATE TABLE auth.client_secrets (
    client_id text NOT NULL REFERENCES auth.clients (client_id),
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (client_id, secret_hash)
);
COMMENT ON TABLE auth.client_secrets IS 'rls:exempt a product serves every tenant';
