-- The role that the directory service logs in as. It owns nothing, bypasses nothing, and gets its password from migrate.
DO $$
BEGIN
    CREATE ROLE directory LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- One service can't starve the others: few connections, no statement or open transaction without an end.
ALTER ROLE directory CONNECTION LIMIT 30;
ALTER ROLE directory SET statement_timeout = '10s';
ALTER ROLE directory SET lock_timeout = '5s';
ALTER ROLE directory SET idle_in_transaction_session_timeout = '15s';

-- Every name in the service's SQL is written out; nothing is found by accident.
ALTER ROLE directory SET search_path = '';
ALTER ROLE directory SET timezone = 'UTC';

-- Owns the one function that moves rows of this schema between tenants. Nobody logs in as it.
DO $$
BEGIN
    CREATE ROLE directory_reorg NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
GRANT directory_reorg TO platform_owner;
