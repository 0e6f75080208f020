-- Every code that a pharmacy has had, each from its first day. The code in force on a day is the one with the latest
-- first day at or before it: so codes can't overlap and leave no hole, and a designation may be back-dated by adding a
-- row. pharmacies.code stays the newest of them.
CREATE TABLE directory.pharmacy_codes (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    pharmacy_id uuid NOT NULL,
    code varchar(10) NOT NULL CHECK (code ~ '^[0-9]{10}$'),
    valid_from date NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, pharmacy_id, valid_from),
    FOREIGN KEY (tenant_id, pharmacy_id) REFERENCES directory.pharmacies (tenant_id, id) DEFERRABLE
);
CREATE INDEX pharmacy_codes_code ON directory.pharmacy_codes (tenant_id, code);

-- The codes that pharmacies have already, before the table asks for events: python -m services.journal backfill tells
-- them. Row security is forced on the owner too, so it is switched on only afterwards.
ALTER TABLE directory.pharmacies NO FORCE ROW LEVEL SECURITY;
INSERT INTO directory.pharmacy_codes (id, tenant_id, pharmacy_id, code, valid_from, version)
SELECT gen_random_uuid(), tenant_id, id, code, code_valid_from, 1 FROM directory.pharmacies WHERE code IS NOT NULL;
ALTER TABLE directory.pharmacies FORCE ROW LEVEL SECURITY;

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.pharmacy_codes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('pharmacy_code', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.pharmacy_codes
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

ALTER TABLE directory.pharmacy_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.pharmacy_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.pharmacy_codes
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

GRANT SELECT, INSERT ON directory.pharmacy_codes TO directory;
