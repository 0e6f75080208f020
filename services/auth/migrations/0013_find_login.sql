-- The one look across tenants: from what somebody typed to ids. An address may be known to several tenants.
CREATE FUNCTION auth.find_login(kind text, value text) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = ''
AS $$
    SELECT i.tenant_id, i.user_id
    FROM directory.login_identifiers AS i
    WHERE find_login.kind = 'email' AND i.kind = 'email' AND i.value = find_login.value
    UNION ALL
    SELECT u.tenant_id, u.id
    FROM auth.upstreams AS u
    WHERE find_login.kind = 'sso' AND u.slug = find_login.value AND u.ended_at IS NULL
    LIMIT 20
$$;
COMMENT ON FUNCTION auth.find_login(text, text) IS
    'kind email: tenant and user of an address; kind sso: tenant and upstream of a slug. Ids only';

REVOKE ALL ON FUNCTION auth.find_login(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.find_login(text, text) TO auth;

-- Handing it over needs, for a moment, what auth_login must not keep.
GRANT USAGE, CREATE ON SCHEMA auth TO auth_login;
ALTER FUNCTION auth.find_login(text, text) OWNER TO auth_login;
REVOKE CREATE ON SCHEMA auth FROM auth_login;
