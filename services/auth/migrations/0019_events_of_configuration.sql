-- What operators configure for every tenant, products and signing keys, changes only together with its event too. Such a
-- row belongs to nobody: its tenant is the id that no tenant has, and so is its events'. It stays readable to all.
--
-- Rows that are there already get their events by services.journal backfill. There are a handful of them, so the tables
-- are locked for an instant.
-- squawk-ignore-file adding-field-with-default, adding-required-field, adding-not-nullable-field
-- squawk-ignore-file constraint-missing-not-valid, disallowed-unique-constraint, ban-drop-default
ALTER TABLE auth.clients
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
        CHECK (tenant_id = '00000000-0000-0000-0000-000000000000'),
    ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version >= 1);
ALTER TABLE auth.clients ALTER COLUMN id DROP DEFAULT, ALTER COLUMN version DROP DEFAULT;
ALTER TABLE auth.signing_keys
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
        CHECK (tenant_id = '00000000-0000-0000-0000-000000000000'),
    ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version >= 1);
ALTER TABLE auth.signing_keys ALTER COLUMN id DROP DEFAULT, ALTER COLUMN version DROP DEFAULT;

GRANT UPDATE (version) ON auth.clients, auth.signing_keys TO auth;

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.clients
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('client', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.clients
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.signing_keys
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('signing_key', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.signing_keys
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();
