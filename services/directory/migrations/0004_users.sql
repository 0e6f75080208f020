-- A person who works with the products. Two people may share a name and its reading: the id tells them apart.
CREATE TABLE directory.users (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    kana text NOT NULL CHECK (length(kana) BETWEEN 1 AND 200),
    status text NOT NULL CHECK (status IN ('invited', 'active', 'suspended', 'retired')),
    is_pharmacist boolean NOT NULL,
    hired_on date,
    retired_on date,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    CHECK ((status = 'retired') = (retired_on IS NOT NULL))
);
