-- A pharmacy and the organisation that runs it now. Its insurance code (保険薬局コード) comes with a designation that has
-- a first day, often in the past; a pharmacy that changes hands gets a new one. Earlier codes are in the events.
CREATE TABLE directory.pharmacies (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    organisation_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    kana text NOT NULL CHECK (length(kana) BETWEEN 1 AND 200),
    code varchar(10) CHECK (code ~ '^[0-9]{10}$'),
    code_valid_from date,
    prefecture text NOT NULL CHECK (length(prefecture) BETWEEN 1 AND 20),
    opened_on date NOT NULL,
    dispensing_area_m2 numeric(12, 2) CHECK (dispensing_area_m2 > 0),
    opening_hours jsonb NOT NULL DEFAULT '{}', -- {"mon": ["09:00", "18:30"], …}
    services text[] NOT NULL DEFAULT '{}', -- e.g. home_visit, sterile, night
    accepts_e_prescription boolean NOT NULL DEFAULT false,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, organisation_id) REFERENCES directory.organisations (tenant_id, id) DEFERRABLE,
    CHECK ((code IS NULL) = (code_valid_from IS NULL))
);
CREATE INDEX pharmacies_organisation ON directory.pharmacies (tenant_id, organisation_id);
CREATE UNIQUE INDEX pharmacies_code ON directory.pharmacies (tenant_id, code);
