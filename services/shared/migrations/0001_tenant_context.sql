-- Which tenant this transaction works for. Set with set_config('app.tenant_id', …, true), so it ends with the transaction.
--
-- Once a session has set it, the setting reads '' and not NULL after the commit: both mean "no tenant", and no tenant
-- means no rows. Policies call it as (SELECT rls.tenant()), so that it is evaluated once per statement, not per row.
CREATE FUNCTION rls.tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = ''
AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;

COMMENT ON FUNCTION rls.tenant() IS 'the tenant bound to this transaction, or NULL';
