-- Keys that sign tokens. A key is next (published, not yet used), current, or retired (published until the last token
-- that it signed has expired), then gone from the published set. Other services may read the public part here.
CREATE TABLE auth.signing_keys (
    kid text NOT NULL CHECK (length(kid) BETWEEN 8 AND 64),
    public_jwk jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('next', 'current', 'retired')),
    created_at timestamptz NOT NULL DEFAULT now(),
    current_at timestamptz,
    retired_at timestamptz,
    PRIMARY KEY (kid),
    CHECK ((state = 'retired') = (retired_at IS NOT NULL)),
    CHECK (state = 'next' OR current_at IS NOT NULL)
);
CREATE UNIQUE INDEX signing_keys_one_next ON auth.signing_keys (state) WHERE state = 'next';
CREATE UNIQUE INDEX signing_keys_one_current ON auth.signing_keys (state) WHERE state = 'current';
COMMENT ON TABLE auth.signing_keys IS 'rls:exempt every tenant''s tokens are signed with the same keys';

-- The private part, encrypted by the service with a key that the database never sees.
CREATE TABLE auth.signing_key_secrets (
    kid text NOT NULL REFERENCES auth.signing_keys (kid),
    sealed bytea NOT NULL,
    PRIMARY KEY (kid)
);
COMMENT ON TABLE auth.signing_key_secrets IS 'rls:exempt every tenant''s tokens are signed with the same keys';
