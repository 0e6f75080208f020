-- squawk-ignore-file ban-drop-constraint
-- Tenants merge and split, pharmacies change hands between them. What is open moves, what has ended stays where it
-- happened; a merger takes everything. Primary keys stay, so whoever follows the changes sees an update.

ALTER TABLE directory.tenants ADD COLUMN merged_into uuid;
ALTER TABLE directory.tenants ADD CONSTRAINT tenants_merged_into_fkey
    FOREIGN KEY (merged_into) REFERENCES directory.tenants (tenant_id) DEFERRABLE NOT VALID;

-- The id must be there; that it is the same tenant's is asked of open rows only. NOT VALID: the keys dropped here held it
-- for all rows until now.
ALTER TABLE directory.memberships
    DROP CONSTRAINT memberships_tenant_id_user_id_fkey,
    DROP CONSTRAINT memberships_tenant_id_organisation_id_fkey,
    DROP CONSTRAINT memberships_tenant_id_pharmacy_id_fkey,
    ADD CONSTRAINT memberships_user FOREIGN KEY (user_id) REFERENCES directory.users (id) DEFERRABLE NOT VALID,
    ADD CONSTRAINT memberships_organisation FOREIGN KEY (organisation_id) REFERENCES directory.organisations (id)
        DEFERRABLE NOT VALID,
    ADD CONSTRAINT memberships_pharmacy FOREIGN KEY (pharmacy_id) REFERENCES directory.pharmacies (id)
        DEFERRABLE NOT VALID;
CREATE CONSTRAINT TRIGGER same_tenant_user AFTER INSERT OR UPDATE OF tenant_id ON directory.memberships DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('valid_to', 'user_id', 'directory', 'users', 'id');
CREATE CONSTRAINT TRIGGER same_tenant_organisation AFTER INSERT OR UPDATE OF tenant_id ON directory.memberships DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('valid_to', 'organisation_id', 'directory', 'organisations', 'id');
CREATE CONSTRAINT TRIGGER same_tenant_pharmacy AFTER INSERT OR UPDATE OF tenant_id ON directory.memberships DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('valid_to', 'pharmacy_id', 'directory', 'pharmacies', 'id');

ALTER TABLE directory.role_grants
    DROP CONSTRAINT role_grants_tenant_id_user_id_fkey,
    DROP CONSTRAINT role_grants_tenant_id_organisation_id_fkey,
    DROP CONSTRAINT role_grants_tenant_id_pharmacy_id_fkey,
    ADD CONSTRAINT role_grants_user FOREIGN KEY (user_id) REFERENCES directory.users (id) DEFERRABLE NOT VALID,
    ADD CONSTRAINT role_grants_organisation FOREIGN KEY (organisation_id) REFERENCES directory.organisations (id)
        DEFERRABLE NOT VALID,
    ADD CONSTRAINT role_grants_pharmacy FOREIGN KEY (pharmacy_id) REFERENCES directory.pharmacies (id)
        DEFERRABLE NOT VALID;
CREATE CONSTRAINT TRIGGER same_tenant_user AFTER INSERT OR UPDATE OF tenant_id ON directory.role_grants DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('revoked_at', 'user_id', 'directory', 'users', 'id');
CREATE CONSTRAINT TRIGGER same_tenant_organisation AFTER INSERT OR UPDATE OF tenant_id ON directory.role_grants DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('revoked_at', 'organisation_id', 'directory', 'organisations', 'id');
CREATE CONSTRAINT TRIGGER same_tenant_pharmacy AFTER INSERT OR UPDATE OF tenant_id ON directory.role_grants DEFERRABLE
    FOR EACH ROW EXECUTE FUNCTION rls.same_tenant('revoked_at', 'pharmacy_id', 'directory', 'pharmacies', 'id');

-- directory_reorg runs one function, directory.reorganise, and may do what that one does.
GRANT USAGE ON SCHEMA directory, rls, journal TO directory_reorg;
GRANT SELECT, INSERT, UPDATE (merged_into, version, updated_at) ON directory.tenants TO directory_reorg;
GRANT SELECT, UPDATE (tenant_id, parent_id, version, updated_at) ON directory.organisations TO directory_reorg;
GRANT SELECT, UPDATE (tenant_id, organisation_id, version, updated_at) ON directory.pharmacies TO directory_reorg;
GRANT SELECT, UPDATE (tenant_id, version, updated_at) ON
    directory.pharmacy_codes, directory.users, directory.memberships
TO directory_reorg;
GRANT SELECT, UPDATE (tenant_id, revoked_by, revoked_at, version, updated_at) ON directory.role_grants TO directory_reorg;
GRANT SELECT, UPDATE (tenant_id, user_version) ON directory.login_identifiers TO directory_reorg;
GRANT SELECT, INSERT ON directory.events TO directory_reorg;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'organisations', 'pharmacies', 'pharmacy_codes', 'users', 'login_identifiers', 'memberships',
        'role_grants', 'events'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY reorg ON directory.%I TO directory_reorg '
            'USING (tenant_id = ANY((SELECT rls.reorganised())::uuid[])) '
            'WITH CHECK (tenant_id = ANY((SELECT rls.reorganised())::uuid[]))', name
        );
        EXECUTE format(
            'COMMENT ON POLICY reorg ON directory.%I IS %L',
            name, 'rls:exempt only directory.reorganise runs as directory_reorg'
        );
    END LOOP;
END
$$;
