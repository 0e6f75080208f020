-- What a session lets a product do: the family that a code and all tokens that came of it belong to.
CREATE TABLE auth.grants (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    client_id text NOT NULL REFERENCES auth.clients (client_id),
    scope text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_by text CHECK (revoked_by IN ('client', 'session_ended', 'code_reused', 'token_reused')),
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES auth.sessions (tenant_id, id) DEFERRABLE,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX grants_session ON auth.grants (tenant_id, session_id);

-- Codes and refresh tokens are 256 random bits, kept as their SHA-256. Each is used once; a second use gives the thief away.
CREATE TABLE auth.codes (
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
    tenant_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    redirect_uri text NOT NULL,
    challenge text NOT NULL,
    nonce text,
    issued_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (code_hash),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES auth.grants (tenant_id, id) DEFERRABLE
);
CREATE INDEX codes_grant ON auth.codes (tenant_id, grant_id);

CREATE TABLE auth.refresh_tokens (
    token_hash bytea NOT NULL CHECK (length(token_hash) = 32),
    tenant_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    PRIMARY KEY (token_hash),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES auth.grants (tenant_id, id) DEFERRABLE
);
CREATE INDEX refresh_tokens_grant ON auth.refresh_tokens (tenant_id, grant_id);
