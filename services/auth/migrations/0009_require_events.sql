-- No state changes without its event: held when the transaction commits, also for SQL run by hand.

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.accounts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('account', 'user_id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.factors
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('factor', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.factors
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.sessions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('session', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.grants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('grant', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.grants
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.upstreams
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('upstream', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.upstreams
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();

CREATE CONSTRAINT TRIGGER require_event AFTER INSERT OR UPDATE OR DELETE ON auth.upstream_links
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal.require_event('upstream_link', 'id', 'version');
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON auth.upstream_links
    FOR EACH STATEMENT EXECUTE FUNCTION journal.no_truncate();
