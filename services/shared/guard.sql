-- New tables can't forget row security: whoever makes one in a service's schema, by migration or by hand, gets it switched
-- on and forced. Without a policy it shows nobody anything, so what is forgotten fails closed; migrations moreover end by
-- asking rls.unprotected. A table that says 'rls:exempt <reason>' in its comment is let off.
--
-- Event triggers belong to the administrator, so this file is run as that one, after all migrations.
CREATE OR REPLACE FUNCTION rls.guard_new_tables() RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    made record;
    exempt boolean;
BEGIN
    FOR made IN
        SELECT d.objid, d.object_identity FROM pg_event_trigger_ddl_commands() AS d
        JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind IN ('r', 'p')
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0
            AND EXISTS (
                SELECT FROM pg_catalog.pg_class AS m WHERE m.relnamespace = c.relnamespace AND m.relname = 'migrations'
            )
    LOOP
        exempt := coalesce(pg_catalog.obj_description(made.objid, 'pg_class'), '') LIKE 'rls:exempt _%';
        IF TG_TAG = 'COMMENT' AND exempt THEN
            EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', made.object_identity);
            EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', made.object_identity);
        ELSIF NOT exempt THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made.object_identity);
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', made.object_identity);
        END IF;
    END LOOP;
END
$$;

DROP EVENT TRIGGER IF EXISTS rls_guard;
DO $$
BEGIN
    CREATE EVENT TRIGGER rls_guard ON ddl_command_end
        WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'COMMENT')
        EXECUTE FUNCTION rls.guard_new_tables();
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'this administrator may create no event triggers: only migrations notice a forgotten table';
END
$$;
