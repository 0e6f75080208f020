-- What proves who somebody is. Only the role auth_secrets touches these tables, and none of them is ever published.
CREATE TABLE auth.passwords (
    user_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    hash text NOT NULL, -- Argon2id, with its salt and its cost
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.accounts (tenant_id, user_id) DEFERRABLE
);
CREATE INDEX passwords_tenant ON auth.passwords (tenant_id, user_id);

CREATE TABLE auth.totp_seeds (
    factor_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    sealed bytea NOT NULL,
    last_step bigint NOT NULL, -- a code counts once: the step that was used last
    PRIMARY KEY (factor_id),
    FOREIGN KEY (tenant_id, factor_id) REFERENCES auth.factors (tenant_id, id) DEFERRABLE
);
CREATE INDEX totp_seeds_tenant ON auth.totp_seeds (tenant_id, factor_id);

CREATE TABLE auth.webauthn_credentials (
    factor_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    credential_id bytea NOT NULL CHECK (length(credential_id) BETWEEN 1 AND 1023),
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    PRIMARY KEY (factor_id),
    UNIQUE (tenant_id, credential_id),
    FOREIGN KEY (tenant_id, factor_id) REFERENCES auth.factors (tenant_id, id) DEFERRABLE
);

CREATE TABLE auth.recovery_codes (
    tenant_id uuid NOT NULL,
    factor_id uuid NOT NULL,
    code_hash bytea NOT NULL CHECK (length(code_hash) = 32), -- keyed: a code is short enough to be guessed offline
    used_at timestamptz,
    PRIMARY KEY (tenant_id, factor_id, code_hash),
    FOREIGN KEY (tenant_id, factor_id) REFERENCES auth.factors (tenant_id, id) DEFERRABLE
);

-- A link that lets a user choose a password, once.
CREATE TABLE auth.enrolments (
    token_hash bytea NOT NULL CHECK (length(token_hash) = 32),
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (token_hash),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.accounts (tenant_id, user_id) DEFERRABLE
);
CREATE INDEX enrolments_user ON auth.enrolments (tenant_id, user_id);

CREATE TABLE auth.upstream_secrets (
    upstream_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (upstream_id),
    FOREIGN KEY (tenant_id, upstream_id) REFERENCES auth.upstreams (tenant_id, id) DEFERRABLE
);
CREATE INDEX upstream_secrets_tenant ON auth.upstream_secrets (tenant_id, upstream_id);

-- One key per person, itself encrypted. Without it, what was encrypted under it is gone: here, in every backup, everywhere.
CREATE TABLE auth.subject_keys (
    tenant_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, subject_id)
);

-- The part of an event that only auth may know: from which address, with which browser, what was typed.
CREATE TABLE auth.event_secrets (
    event_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (event_id)
);
CREATE INDEX event_secrets_subject ON auth.event_secrets (tenant_id, subject_id);
