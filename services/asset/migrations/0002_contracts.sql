-- What a tenant has signed: from which day until which (half-open; ends_on NULL: until further notice).
CREATE TABLE asset.contracts (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    number text NOT NULL CHECK (length(number) BETWEEN 1 AND 40),
    starts_on date NOT NULL,
    ends_on date,
    terminated_at timestamptz, -- when the end was decided; ends_on says from when it counts
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, number),
    CHECK (ends_on >= starts_on)
);
