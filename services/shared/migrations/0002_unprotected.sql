-- What row security has forgotten in one schema. Migrations end by asking it, and refuse any answer.
--
-- A table that belongs to no tenant says so, with its reason: COMMENT ON TABLE … IS 'rls:exempt <reason>'.
CREATE FUNCTION rls.unprotected(schema_name text)
RETURNS TABLE (relation text, lacks text)
LANGUAGE sql STABLE
SET search_path = ''
AS $$
    WITH relations AS (
        SELECT c.oid, c.relname::text AS name, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = schema_name
          AND c.relkind IN ('r', 'p', 'v', 'm')
          AND coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '') NOT LIKE 'rls:exempt _%'
    ),
    tables AS (SELECT * FROM relations WHERE relkind IN ('r', 'p'))
    SELECT name, 'a column tenant_id uuid NOT NULL' FROM tables
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = tables.oid AND a.attname = 'tenant_id' AND a.attnotnull
          AND a.atttypid = 'pg_catalog.uuid'::pg_catalog.regtype AND NOT a.attisdropped
    )
    UNION ALL
    SELECT name, 'ENABLE ROW LEVEL SECURITY' FROM tables WHERE NOT relrowsecurity
    UNION ALL
    SELECT name, 'FORCE ROW LEVEL SECURITY' FROM tables WHERE NOT relforcerowsecurity
    UNION ALL
    SELECT name, 'a policy by rls.tenant()' FROM tables
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = tables.oid
          AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) LIKE '%rls.tenant()%'
    )
    UNION ALL
    -- Permissive policies add up: one that asks for no tenant opens the table whatever the others say.
    SELECT name, 'a tenant in every permissive policy, also in ' || p.polname
    FROM tables JOIN pg_catalog.pg_policy AS p ON p.polrelid = tables.oid AND p.polpermissive
    WHERE coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'rls.tenant()') NOT LIKE '%rls.tenant()%'
       OR coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), 'rls.tenant()') NOT LIKE '%rls.tenant()%'
    UNION ALL
    SELECT name, 'an index that starts with tenant_id' FROM tables
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = tables.oid AND a.attname = 'tenant_id' AND i.indisvalid AND i.indpred IS NULL
    )
    UNION ALL
    -- A view reads with its owner's rights unless it says otherwise.
    SELECT name, 'security_invoker = true' FROM relations
    WHERE relkind = 'v' AND NOT coalesce(reloptions, '{}') && ARRAY['security_invoker=true', 'security_invoker=on']
    UNION ALL
    SELECT name, 'policies: a materialised view has none' FROM relations WHERE relkind = 'm'
    ORDER BY 1, 2
$$;

COMMENT ON FUNCTION rls.unprotected(text) IS 'one row per protection that a relation of the schema lacks';
