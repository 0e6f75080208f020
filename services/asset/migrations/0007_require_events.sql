-- No state changes without its event: held when the transaction commits, also for SQL run by hand.

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON asset.contracts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('contract', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON asset.contracts
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON asset.licenses
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('license', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON asset.licenses
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON asset.devices
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('device', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON asset.devices
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON asset.assignments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('assignment', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON asset.assignments
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();
