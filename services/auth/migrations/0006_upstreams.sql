-- A tenant's own identity provider. slug is what its users type to be sent there.
CREATE TABLE auth.upstreams (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9][a-z0-9-]{2,62}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    issuer text NOT NULL CHECK (length(issuer) <= 400),
    client_id text NOT NULL CHECK (length(client_id) BETWEEN 1 AND 200),
    ended_at timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX upstreams_slug ON auth.upstreams (slug) WHERE ended_at IS NULL;

-- Which of the tenant's users an upstream's subject is. Made by the user while logged in, never found by e-mail.
CREATE TABLE auth.upstream_links (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    upstream_id uuid NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    user_id uuid NOT NULL,
    linked_at timestamptz NOT NULL DEFAULT now(),
    unlinked_at timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, upstream_id) REFERENCES auth.upstreams (tenant_id, id) DEFERRABLE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.accounts (tenant_id, user_id) DEFERRABLE
);
CREATE UNIQUE INDEX upstream_links_subject ON auth.upstream_links (tenant_id, issuer, subject) WHERE unlinked_at IS NULL;
CREATE INDEX upstream_links_user ON auth.upstream_links (tenant_id, user_id);
CREATE INDEX upstream_links_upstream ON auth.upstream_links (tenant_id, upstream_id);
