-- A tenant is a customer: a chain of pharmacies or a single one. Its id is the tenant_id of everything below.
CREATE TABLE directory.tenants (
    tenant_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    kana text NOT NULL CHECK (length(kana) BETWEEN 1 AND 200),
    corporate_number varchar(13) CHECK (corporate_number ~ '^[0-9]{13}$'), -- 法人番号; a sole proprietor has none
    pharmacy_limit integer NOT NULL DEFAULT 1000 CHECK (pharmacy_limit > 0),
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id)
);
