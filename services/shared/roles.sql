-- Roles that every service builds on. Roles belong to the whole server, so this file has no number:
-- migrate runs it each time, and running it again changes nothing.

-- Owns every schema, table and function of the platform, and nobody logs in as it: migrations take it on with SET ROLE.
-- A service never does, so what row security forces on the owner (FORCE) no service can switch off.
DO $$
BEGIN
    CREATE ROLE platform_owner NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
-- It hands functions over to inner roles, and for this has to be a member of them; it must not have their rights by that.
ALTER ROLE platform_owner NOINHERIT;

-- An administrator that isn't a superuser has to be a member to take the role on.
DO $$
BEGIN
    -- Who creates a role administers it, which since version 16 doesn't include taking it on.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT platform_owner TO %I', current_user);
    END IF;
    IF NOT has_database_privilege('platform_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO platform_owner', current_database());
    END IF;
END
$$;

-- Who may look at tenants' rows by hand, for a ticket: rls.break_glass. People are made members without inheriting it:
-- GRANT platform_breakglass TO sato WITH INHERIT FALSE, SET TRUE (before version 16: a NOINHERIT login).
DO $$
BEGIN
    CREATE ROLE platform_breakglass NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
