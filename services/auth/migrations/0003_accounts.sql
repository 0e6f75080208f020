-- What auth knows of a user: how they may log in, and whether somebody keeps guessing. Who they are, directory knows.
-- No foreign key into directory: it would lock directory's rows whenever somebody logs in.
CREATE TABLE auth.accounts (
    user_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    has_password boolean NOT NULL DEFAULT false,
    needs_second_factor boolean NOT NULL DEFAULT false, -- the password is shorter than what stands alone
    failed_in_a_row integer NOT NULL DEFAULT 0 CHECK (failed_in_a_row >= 0),
    locked_until timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id),
    UNIQUE (tenant_id, user_id)
);

-- A second factor of a user. What proves it (seed, public key, codes) is kept apart, in 0007.
CREATE TABLE auth.factors (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('totp', 'webauthn', 'recovery')),
    label text NOT NULL CHECK (length(label) BETWEEN 1 AND 100),
    enrolled_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES auth.accounts (tenant_id, user_id) DEFERRABLE
);
CREATE INDEX factors_user ON auth.factors (tenant_id, user_id);
