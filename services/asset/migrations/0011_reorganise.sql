-- squawk-ignore-file ban-drop-constraint
-- The assets' part of a reorganisation: they follow what directory.reorganise has moved in the same transaction. After a
-- merger everything goes along; else devices go with their pharmacies, and the seats of whoever went are released: they
-- are seats of a license that stays.

-- Released seats stay behind, so the tenant is asked of open rows only.
ALTER TABLE asset.assignments
    DROP CONSTRAINT assignments_tenant_id_user_id_fkey,
    DROP CONSTRAINT assignments_tenant_id_device_id_fkey,
    ADD CONSTRAINT assignments_of_user FOREIGN KEY (user_id) REFERENCES directory.users (id) DEFERRABLE NOT VALID,
    ADD CONSTRAINT assignments_of_device FOREIGN KEY (device_id) REFERENCES asset.devices (id) DEFERRABLE NOT VALID;
CREATE CONSTRAINT TRIGGER same_tenant_user AFTER INSERT OR UPDATE OF tenant_id ON asset.assignments DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('released_at', 'user_id', 'directory', 'users', 'id');
CREATE CONSTRAINT TRIGGER same_tenant_device AFTER INSERT OR UPDATE OF tenant_id ON asset.assignments DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('released_at', 'device_id', 'asset', 'devices', 'id');

GRANT USAGE ON SCHEMA asset, directory, rls, journal TO asset_reorg;
GRANT SELECT, UPDATE (tenant_id, version, updated_at) ON asset.contracts, asset.licenses, asset.devices TO asset_reorg;
GRANT SELECT, UPDATE (tenant_id, released_at, version, updated_at) ON asset.assignments TO asset_reorg;
GRANT SELECT, INSERT ON asset.events TO asset_reorg;
GRANT SELECT (tenant_id, merged_into) ON directory.tenants TO asset_reorg;
GRANT SELECT (tenant_id, id) ON directory.pharmacies, directory.users TO asset_reorg;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'asset.contracts', 'asset.licenses', 'asset.devices', 'asset.assignments', 'asset.events',
        'directory.tenants', 'directory.pharmacies', 'directory.users'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY asset_reorg ON %s TO asset_reorg '
            'USING (tenant_id = ANY((SELECT rls.reorganised())::uuid[])) '
            'WITH CHECK (tenant_id = ANY((SELECT rls.reorganised())::uuid[]))', name
        );
        EXECUTE format(
            'COMMENT ON POLICY asset_reorg ON %s IS %L', name, 'rls:exempt only asset.reorganise runs as asset_reorg'
        );
    END LOOP;
END
$$;

-- plan: to; and who and why, as directory.reorganise takes it. What moves is read from the directory, not from the plan.
CREATE FUNCTION asset.reorganise(plan jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ''
AS $$
DECLARE
    giving uuid := rls.tenant();
    taking uuid := plan ->> 'to';
    merged boolean;
    moving uuid[];
BEGIN
    IF giving IS NULL OR taking IS NULL OR giving = taking THEN
        RAISE EXCEPTION 'not a reorganisation' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM rls.begin_reorganisation(giving, taking);
    merged := EXISTS (SELECT FROM directory.tenants WHERE tenant_id = giving AND merged_into = taking);

    IF merged THEN
        moving := ARRAY(SELECT id FROM asset.contracts WHERE tenant_id = giving);
        UPDATE asset.contracts SET tenant_id = taking, version = version + 1, updated_at = now()
        WHERE tenant_id = giving AND id = ANY(moving);
        PERFORM journal.tell(plan, 'asset', 'contracts', 'id', 'contract', 1, 'contract.rehomed', moving);
        moving := ARRAY(SELECT id FROM asset.licenses WHERE tenant_id = giving);
        UPDATE asset.licenses SET tenant_id = taking, version = version + 1, updated_at = now()
        WHERE tenant_id = giving AND id = ANY(moving);
        PERFORM journal.tell(plan, 'asset', 'licenses', 'id', 'license', 1, 'license.rehomed', moving);
    ELSE
        WITH released AS (
            UPDATE asset.assignments AS a SET released_at = now(), version = version + 1, updated_at = now()
            WHERE a.tenant_id = giving AND a.released_at IS NULL AND (
                EXISTS (SELECT FROM directory.users AS u WHERE u.id = a.user_id AND u.tenant_id = taking)
                OR EXISTS (
                    SELECT FROM asset.devices AS d JOIN directory.pharmacies AS p ON p.id = d.pharmacy_id
                    WHERE d.id = a.device_id AND p.tenant_id = taking
                )
            ) RETURNING a.id
        )
        SELECT array_agg(id) INTO moving FROM released;
        PERFORM journal.tell(plan, 'asset', 'assignments', 'id', 'assignment', 1, 'seat.released', moving);
    END IF;

    WITH moved AS (
        UPDATE asset.devices AS d SET tenant_id = taking, version = d.version + 1, updated_at = now()
        FROM directory.pharmacies AS p
        WHERE d.tenant_id = giving AND p.id = d.pharmacy_id AND p.tenant_id = taking RETURNING d.id
    )
    SELECT array_agg(id) INTO moving FROM moved;
    PERFORM journal.tell(plan, 'asset', 'devices', 'id', 'device', 1, 'device.rehomed', moving);

    IF merged THEN
        moving := ARRAY(SELECT id FROM asset.assignments WHERE tenant_id = giving);
        UPDATE asset.assignments SET tenant_id = taking, version = version + 1, updated_at = now()
        WHERE tenant_id = giving AND id = ANY(moving);
        PERFORM journal.tell(plan, 'asset', 'assignments', 'id', 'assignment', 1, 'seat.rehomed', moving);
    END IF;
    SET CONSTRAINTS asset.require_event, asset.same_tenant_user, asset.same_tenant_device IMMEDIATE;
    PERFORM set_config('app.reorganised', '', true);
END
$$;

REVOKE ALL ON FUNCTION asset.reorganise(jsonb) FROM PUBLIC;
GRANT USAGE ON SCHEMA asset TO directory;
GRANT EXECUTE ON FUNCTION asset.reorganise(jsonb) TO directory;
-- Handing it over needs, for a moment, what asset_reorg must not keep.
GRANT CREATE ON SCHEMA asset TO asset_reorg;
ALTER FUNCTION asset.reorganise(jsonb) OWNER TO asset_reorg;
REVOKE CREATE ON SCHEMA asset FROM asset_reorg;
