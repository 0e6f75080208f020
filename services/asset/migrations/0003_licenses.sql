-- So many seats of one product, under a contract. Seats are numbered 1 … seats.
CREATE TABLE asset.licenses (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    contract_id uuid NOT NULL,
    product text NOT NULL REFERENCES asset.products (code),
    seats integer NOT NULL CHECK (seats BETWEEN 0 AND 100000),
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, contract_id) REFERENCES asset.contracts (tenant_id, id) DEFERRABLE
);
CREATE INDEX licenses_contract ON asset.licenses (tenant_id, contract_id);
