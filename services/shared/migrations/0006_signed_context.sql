-- A session can set any setting, so a setting alone proves nothing. The tenant counts only with a proof: an HMAC by a key
-- that the service derives from its role's password, over role, backend, tenant and expiry. SQL that runs in the
-- service's session, injected or careless, has no key and can prove no other tenant.
--
-- The keys are told by services.migrate, whenever it is given a password; the one before stays good, for processes that
-- still know the old password. inner_key and outer_key are the HMAC key XOR ipad and opad (RFC 2104): the server has
-- sha256 and no hmac.
CREATE TABLE rls.context_keys (
    role text NOT NULL,
    inner_key bytea NOT NULL CHECK (length(inner_key) = 64),
    outer_key bytea NOT NULL CHECK (length(outer_key) = 64),
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (role, inner_key)
);
COMMENT ON TABLE rls.context_keys IS 'rls:exempt keys of services, belong to no tenant; granted to nobody';

-- app.tenant_id: the tenant. app.tenant_proof: '<expiry, seconds since 1970>.<hexadecimal HMAC-SHA-256>'. Both end with
-- the transaction. Without them, or with a proof that is wrong, there is no tenant, and no tenant means no rows.
--
-- Policies call it as (SELECT rls.tenant()), so that it is evaluated once per statement, not per row. Restricted to the
-- leader of a parallel plan: a worker is another backend.
CREATE OR REPLACE FUNCTION rls.tenant() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
SET search_path = ''
AS $$
DECLARE
    tenant text := nullif(current_setting('app.tenant_id', true), '');
    proof text := coalesce(current_setting('app.tenant_proof', true), '');
    told bytea;
BEGIN
    IF tenant IS NULL THEN
        RETURN NULL;
    END IF;
    told := convert_to(
        session_user || '|' || pg_backend_pid() || '|' || tenant || '|' || split_part(proof, '.', 1), 'UTF8'
    );
    IF proof ~ '^[0-9]{1,12}\.[0-9a-f]{64}$'
        AND split_part(proof, '.', 1)::bigint >= extract(epoch FROM now())
        AND EXISTS (
            SELECT FROM rls.context_keys AS k
            WHERE k.role = session_user
                AND sha256(k.outer_key || sha256(k.inner_key || told)) = decode(split_part(proof, '.', 2), 'hex')
        )
    THEN
        RETURN tenant::uuid;
    END IF;
    RAISE LOG 'row security: tenant % without a valid proof, by role %', tenant, session_user;
    RETURN NULL;
END
$$;
