-- The role that the auth service logs in as. It owns nothing, bypasses nothing, and gets its password from migrate.
-- NOINHERIT: what the inner roles below may do, it may do only after saying SET ROLE.
DO $$
BEGIN
    CREATE ROLE auth LOGIN NOINHERIT;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- Hashes, seeds and keys: a statement that goes astray in the service doesn't see them.
DO $$
BEGIN
    CREATE ROLE auth_secrets NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- Owns the one function that looks across tenants: from what somebody typed to ids, and nothing but ids.
DO $$
BEGIN
    CREATE ROLE auth_login NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- The owner hands that function over, and for this has to be a member.
GRANT auth_login TO platform_owner;
GRANT auth_secrets TO auth;

-- One service can't starve the others: few connections, no statement or open transaction without an end.
ALTER ROLE auth CONNECTION LIMIT 30;
ALTER ROLE auth SET statement_timeout = '5s';
ALTER ROLE auth SET lock_timeout = '3s';
ALTER ROLE auth SET idle_in_transaction_session_timeout = '10s';

-- Every name in the service's SQL is written out; nothing is found by accident.
ALTER ROLE auth SET search_path = '';
ALTER ROLE auth SET timezone = 'UTC';

-- Owns the one function that moves rows of this schema between tenants. Nobody logs in as it.
DO $$
BEGIN
    CREATE ROLE auth_reorg NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
GRANT auth_reorg TO platform_owner;
