-- The secret of an identity provider that has ended has to be gone, whoever ends it: an operator, or a merger. Runs as the
-- owner, whom row security binds to the tenant that is bound: it is the upstream's.
CREATE FUNCTION auth.forget_upstream_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ''
AS $$
BEGIN
    DELETE FROM auth.upstream_secrets WHERE tenant_id = NEW.tenant_id AND upstream_id = NEW.id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION auth.forget_upstream_secret() FROM PUBLIC;
CREATE TRIGGER forget_secret AFTER UPDATE OF ended_at ON auth.upstreams
    FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL) EXECUTE FUNCTION auth.forget_upstream_secret();
