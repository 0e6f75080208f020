-- A policy may open a table to a role that only a SECURITY DEFINER function runs as. It says why:
-- COMMENT ON POLICY … IS 'rls:exempt <reason>'. Nobody who logs in may have that role's rights without asking for them.
CREATE OR REPLACE FUNCTION rls.unprotected(schema_name text)
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
    tables AS (SELECT * FROM relations WHERE relkind IN ('r', 'p')),
    policies AS (
        SELECT p.*
        FROM pg_catalog.pg_policy AS p
        WHERE coalesce(pg_catalog.obj_description(p.oid, 'pg_policy'), '') NOT LIKE 'rls:exempt _%'
           OR EXISTS (
               SELECT FROM unnest(p.polroles) AS named (role), pg_catalog.pg_roles AS l
               WHERE named.role = 0
                  OR l.rolcanlogin AND NOT l.rolsuper AND pg_catalog.pg_has_role(l.oid, named.role, 'USAGE')
           )
    )
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
        SELECT FROM policies AS p
        WHERE p.polrelid = tables.oid
          AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) LIKE '%rls.tenant()%'
    )
    UNION ALL
    -- Permissive policies add up: one that asks for no tenant opens the table whatever the others say.
    SELECT name, 'a tenant in every permissive policy, also in ' || p.polname
    FROM tables JOIN policies AS p ON p.polrelid = tables.oid AND p.polpermissive
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
