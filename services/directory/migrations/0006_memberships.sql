-- Who belongs where, from which day until which (half-open; valid_to NULL: until further notice).
-- A pharmacist may work in two pharmacies; one membership at most is the primary one.
CREATE TABLE directory.memberships (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    user_id uuid NOT NULL,
    organisation_id uuid,
    pharmacy_id uuid,
    is_primary boolean NOT NULL,
    weekly_hours numeric(12, 2) NOT NULL CHECK (weekly_hours > 0 AND weekly_hours <= 168),
    valid_from date NOT NULL,
    valid_to date,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES directory.users (tenant_id, id) DEFERRABLE,
    FOREIGN KEY (tenant_id, organisation_id) REFERENCES directory.organisations (tenant_id, id) DEFERRABLE,
    FOREIGN KEY (tenant_id, pharmacy_id) REFERENCES directory.pharmacies (tenant_id, id) DEFERRABLE,
    CHECK (num_nonnulls(organisation_id, pharmacy_id) = 1),
    CHECK (valid_to >= valid_from)
);
CREATE INDEX memberships_user ON directory.memberships (tenant_id, user_id);
CREATE INDEX memberships_organisation ON directory.memberships (tenant_id, organisation_id);
CREATE INDEX memberships_pharmacy ON directory.memberships (tenant_id, pharmacy_id);
CREATE UNIQUE INDEX memberships_open ON directory.memberships
    (tenant_id, user_id, organisation_id, pharmacy_id) NULLS NOT DISTINCT WHERE valid_to IS NULL;
CREATE UNIQUE INDEX memberships_primary ON directory.memberships (tenant_id, user_id)
    WHERE is_primary AND valid_to IS NULL;
