-- No state changes without its event: held when the transaction commits, also for SQL run by hand.

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.tenants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('tenant', 'tenant_id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.organisations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('organisation', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.organisations
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.pharmacies
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('pharmacy', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.pharmacies
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('user', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.users
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.login_identifiers
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('user', 'user_id', 'user_version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.login_identifiers
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.memberships
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('membership', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.memberships
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON directory.role_grants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('role_grant', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON directory.role_grants
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();
