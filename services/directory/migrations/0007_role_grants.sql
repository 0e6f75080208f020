-- What a user may do, and where: in one organisation, in one pharmacy, or (both NULL) in the whole tenant.
CREATE TABLE directory.role_grants (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    user_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('administrator', 'manager', 'pharmacist', 'clerk', 'auditor')),
    organisation_id uuid,
    pharmacy_id uuid,
    granted_by text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    revoked_by text,
    revoked_at timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES directory.users (tenant_id, id) DEFERRABLE,
    FOREIGN KEY (tenant_id, organisation_id) REFERENCES directory.organisations (tenant_id, id) DEFERRABLE,
    FOREIGN KEY (tenant_id, pharmacy_id) REFERENCES directory.pharmacies (tenant_id, id) DEFERRABLE,
    CHECK (num_nonnulls(organisation_id, pharmacy_id) <= 1),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX role_grants_user ON directory.role_grants (tenant_id, user_id);
CREATE INDEX role_grants_organisation ON directory.role_grants (tenant_id, organisation_id);
CREATE INDEX role_grants_pharmacy ON directory.role_grants (tenant_id, pharmacy_id);
CREATE UNIQUE INDEX role_grants_open ON directory.role_grants
    (tenant_id, user_id, role, organisation_id, pharmacy_id) NULLS NOT DISTINCT WHERE revoked_at IS NULL;
