-- squawk-ignore-file ban-drop-constraint
-- Auth's part of a reorganisation: it follows what directory.reorganise has moved in the same transaction. An account
-- goes with its user, and with it what proves who that is and what is sealed under the person's key. Sessions and the
-- tokens that came of them end, and stay, as does the login history: they were the giving tenant's. An upstream belongs
-- to the tenant that connected it, so links to it end; after a merger it ends too.

-- Ended rows stay behind, so the tenant is asked of open rows only.
ALTER TABLE auth.factors
    DROP CONSTRAINT factors_tenant_id_user_id_fkey,
    ADD CONSTRAINT factors_of_user FOREIGN KEY (user_id) REFERENCES auth.accounts (user_id) DEFERRABLE NOT VALID;
CREATE CONSTRAINT TRIGGER same_tenant_account AFTER INSERT OR UPDATE OF tenant_id ON auth.factors DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('removed_at', 'user_id', 'auth', 'accounts', 'user_id');
ALTER TABLE auth.sessions
    DROP CONSTRAINT sessions_tenant_id_user_id_fkey,
    ADD CONSTRAINT sessions_of_user FOREIGN KEY (user_id) REFERENCES auth.accounts (user_id) DEFERRABLE NOT VALID;
CREATE CONSTRAINT TRIGGER same_tenant_account AFTER INSERT OR UPDATE OF tenant_id ON auth.sessions DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('ended_at', 'user_id', 'auth', 'accounts', 'user_id');
ALTER TABLE auth.upstream_links
    DROP CONSTRAINT upstream_links_tenant_id_user_id_fkey,
    ADD CONSTRAINT upstream_links_of_user FOREIGN KEY (user_id) REFERENCES auth.accounts (user_id) DEFERRABLE NOT VALID;
CREATE CONSTRAINT TRIGGER same_tenant_account AFTER INSERT OR UPDATE OF tenant_id ON auth.upstream_links DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('unlinked_at', 'user_id', 'auth', 'accounts', 'user_id');
-- Without a foreign key into directory, this alone keeps an account from being opened where its user no longer is.
CREATE CONSTRAINT TRIGGER same_tenant_user AFTER INSERT OR UPDATE OF tenant_id ON auth.accounts DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('', 'user_id', 'directory', 'users', 'id');

GRANT USAGE ON SCHEMA auth, directory, rls, journal TO auth_reorg;
GRANT SELECT, UPDATE (tenant_id, version, updated_at) ON auth.accounts TO auth_reorg;
GRANT SELECT, UPDATE (tenant_id, version) ON auth.factors TO auth_reorg;
GRANT SELECT, UPDATE (ended_at, ended_by, version) ON auth.sessions TO auth_reorg;
GRANT SELECT, UPDATE (revoked_at, revoked_by, version) ON auth.grants TO auth_reorg;
GRANT SELECT, UPDATE (ended_at, version, updated_at) ON auth.upstreams TO auth_reorg;
GRANT SELECT, UPDATE (unlinked_at, version) ON auth.upstream_links TO auth_reorg;
GRANT SELECT, INSERT ON auth.events TO auth_reorg;
-- Moved unread: it sees whose they are and nothing else.
GRANT SELECT (tenant_id, user_id), UPDATE (tenant_id) ON auth.passwords, auth.enrolments TO auth_reorg;
GRANT SELECT (tenant_id, factor_id), UPDATE (tenant_id) ON
    auth.totp_seeds, auth.webauthn_credentials, auth.recovery_codes
TO auth_reorg;
GRANT SELECT (tenant_id, subject_id), UPDATE (tenant_id) ON auth.subject_keys, auth.event_secrets TO auth_reorg;
GRANT SELECT (tenant_id, merged_into) ON directory.tenants TO auth_reorg;
GRANT SELECT (tenant_id, id) ON directory.users TO auth_reorg;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'auth.accounts', 'auth.factors', 'auth.sessions', 'auth.grants', 'auth.upstreams', 'auth.upstream_links',
        'auth.events', 'auth.passwords', 'auth.enrolments', 'auth.totp_seeds', 'auth.webauthn_credentials',
        'auth.recovery_codes', 'auth.subject_keys', 'auth.event_secrets', 'directory.tenants', 'directory.users'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY auth_reorg ON %s TO auth_reorg '
            'USING (tenant_id = ANY((SELECT rls.reorganised())::uuid[])) '
            'WITH CHECK (tenant_id = ANY((SELECT rls.reorganised())::uuid[]))', name
        );
        EXECUTE format(
            'COMMENT ON POLICY auth_reorg ON %s IS %L', name, 'rls:exempt only auth.reorganise runs as auth_reorg'
        );
    END LOOP;
END
$$;

-- plan: to; and who and why, as directory.reorganise takes it. Whose accounts move is read from the directory.
CREATE FUNCTION auth.reorganise(plan jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    giving uuid := rls.tenant();
    taking uuid := plan ->> 'to';
    people uuid[];
    proofs uuid[];
    ending uuid[];
BEGIN
    IF giving IS NULL OR taking IS NULL OR giving = taking THEN
        RAISE EXCEPTION 'not a reorganisation' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM rls.begin_reorganisation(giving, taking);
    people := ARRAY(SELECT id FROM directory.users WHERE tenant_id = taking AND id IN (
        SELECT user_id FROM auth.accounts WHERE tenant_id = giving
    ));

    WITH ended AS (
        UPDATE auth.sessions SET ended_at = now(), ended_by = 'operator', version = version + 1
        WHERE tenant_id = giving AND user_id = ANY(people) AND ended_at IS NULL RETURNING id
    )
    SELECT array_agg(id) INTO ending FROM ended;
    PERFORM journal.tell(plan, 'auth', 'sessions', 'id', 'session', 1, 'session.ended', ending);
    WITH revoked AS (
        UPDATE auth.grants SET revoked_at = now(), revoked_by = 'session_ended', version = version + 1
        WHERE tenant_id = giving AND user_id = ANY(people) AND revoked_at IS NULL RETURNING id
    )
    SELECT array_agg(id) INTO ending FROM revoked;
    PERFORM journal.tell(plan, 'auth', 'grants', 'id', 'grant', 1, 'grant.revoked', ending);
    WITH unlinked AS (
        UPDATE auth.upstream_links SET unlinked_at = now(), version = version + 1
        WHERE tenant_id = giving AND user_id = ANY(people) AND unlinked_at IS NULL RETURNING id
    )
    SELECT array_agg(id) INTO ending FROM unlinked;
    PERFORM journal.tell(plan, 'auth', 'upstream_links', 'id', 'upstream_link', 1, 'upstream.unlinked', ending);
    WITH ended AS (
        UPDATE auth.upstreams SET ended_at = now(), version = version + 1, updated_at = now()
        WHERE tenant_id = giving AND ended_at IS NULL
            AND EXISTS (SELECT FROM directory.tenants WHERE tenant_id = giving AND merged_into = taking) RETURNING id
    )
    SELECT array_agg(id) INTO ending FROM ended;
    PERFORM journal.tell(plan, 'auth', 'upstreams', 'id', 'upstream', 1, 'upstream.ended', ending);

    UPDATE auth.accounts SET tenant_id = taking, version = version + 1, updated_at = now()
    WHERE tenant_id = giving AND user_id = ANY(people);
    PERFORM journal.tell(plan, 'auth', 'accounts', 'user_id', 'account', 1, 'account.rehomed', people);
    proofs := ARRAY(
        SELECT id FROM auth.factors WHERE tenant_id = giving AND user_id = ANY(people) AND removed_at IS NULL
    );
    UPDATE auth.factors SET tenant_id = taking, version = version + 1 WHERE tenant_id = giving AND id = ANY(proofs);
    PERFORM journal.tell(plan, 'auth', 'factors', 'id', 'factor', 1, 'factor.rehomed', proofs);
    UPDATE auth.passwords SET tenant_id = taking WHERE tenant_id = giving AND user_id = ANY(people);
    UPDATE auth.enrolments SET tenant_id = taking WHERE tenant_id = giving AND user_id = ANY(people);
    UPDATE auth.totp_seeds SET tenant_id = taking WHERE tenant_id = giving AND factor_id = ANY(proofs);
    UPDATE auth.webauthn_credentials SET tenant_id = taking WHERE tenant_id = giving AND factor_id = ANY(proofs);
    UPDATE auth.recovery_codes SET tenant_id = taking WHERE tenant_id = giving AND factor_id = ANY(proofs);
    UPDATE auth.subject_keys SET tenant_id = taking WHERE tenant_id = giving AND subject_id = ANY(people);
    UPDATE auth.event_secrets SET tenant_id = taking WHERE tenant_id = giving AND subject_id = ANY(people);
    SET CONSTRAINTS auth.require_event, auth.same_tenant_account, auth.same_tenant_user IMMEDIATE;
    PERFORM set_config('app.reorganised', '', true);
END
$$;

REVOKE ALL ON FUNCTION auth.reorganise(jsonb) FROM PUBLIC;
GRANT USAGE ON SCHEMA auth TO directory;
GRANT EXECUTE ON FUNCTION auth.reorganise(jsonb) TO directory;
-- Handing it over needs, for a moment, what auth_reorg must not keep.
GRANT CREATE ON SCHEMA auth TO auth_reorg;
ALTER FUNCTION auth.reorganise(jsonb) OWNER TO auth_reorg;
REVOKE CREATE ON SCHEMA auth FROM auth_reorg;
