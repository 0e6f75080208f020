-- A terminal or a scanner in a pharmacy. The pharmacy is the directory's row, of the same tenant.
CREATE TABLE asset.devices (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    pharmacy_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('terminal', 'tablet', 'scanner', 'card_reader')),
    serial text NOT NULL CHECK (length(serial) BETWEEN 1 AND 80),
    status text NOT NULL CHECK (status IN ('in_use', 'lost', 'retired')),
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, serial),
    FOREIGN KEY (tenant_id, pharmacy_id) REFERENCES directory.pharmacies (tenant_id, id) DEFERRABLE
);
CREATE INDEX devices_pharmacy ON asset.devices (tenant_id, pharmacy_id);
