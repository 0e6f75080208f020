-- One browser or device in which a user is logged in. It ends by logout, by revocation, or at expires_at at the latest.
CREATE TABLE auth.sessions (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    amr text[] NOT NULL, -- RFC 8176: how the user proved who they are
    acr text NOT NULL,
    upstream_id uuid, -- the tenant's own identity provider, where that one did
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_by text CHECK (ended_by IN ('logout', 'revoked', 'password_changed', 'factor_changed', 'operator', 'replaced')),
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.accounts (tenant_id, user_id) DEFERRABLE,
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX sessions_user ON auth.sessions (tenant_id, user_id);

-- How the browser proves that it is that session, and when it last did: no business of the lake, and no event each time.
CREATE TABLE auth.session_handles (
    session_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (secret_hash),
    UNIQUE (tenant_id, session_id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES auth.sessions (tenant_id, id) DEFERRABLE
);
