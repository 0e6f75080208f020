-- What a user types to log in. Kept apart from users so that e-mail addresses stay out of events and publications.
-- It belongs to the user's aggregate: user_version is the version of the user that brought it.
CREATE TABLE directory.login_identifiers (
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    kind text NOT NULL CHECK (kind IN ('email')),
    value varchar(254) NOT NULL,
    user_id uuid NOT NULL,
    user_version bigint NOT NULL CHECK (user_version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, value),
    FOREIGN KEY (tenant_id, user_id) REFERENCES directory.users (tenant_id, id) DEFERRABLE,
    CHECK (value = lower(value))
);
CREATE INDEX login_identifiers_user ON directory.login_identifiers (tenant_id, user_id);
