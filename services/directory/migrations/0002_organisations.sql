-- The tree of a tenant: companies, divisions, areas. Pharmacies hang on its nodes.
--
-- The primary key is the id alone, so that moving a row to another tenant stays an update for whoever follows the
-- changes; foreign keys take (tenant_id, id), because they don't look at policies.
CREATE TABLE directory.organisations (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    parent_id uuid,
    kind text NOT NULL CHECK (kind IN ('company', 'division', 'area')),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    kana text NOT NULL CHECK (length(kana) BETWEEN 1 AND 200),
    aliases text[] NOT NULL DEFAULT '{}', -- names it had before, oldest first
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, parent_id) REFERENCES directory.organisations (tenant_id, id) DEFERRABLE,
    CHECK (parent_id <> id)
);
CREATE INDEX organisations_parent ON directory.organisations (tenant_id, parent_id);
