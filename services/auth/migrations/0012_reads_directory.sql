-- What auth reads of directory, column by column. It reads the tables, not the service: the service may be down.
GRANT USAGE ON SCHEMA directory TO auth, auth_login;
GRANT SELECT (tenant_id, name) ON directory.tenants TO auth;
GRANT SELECT (tenant_id, id, parent_id, kind, name) ON directory.organisations TO auth;
GRANT SELECT (tenant_id, id, organisation_id, name, code) ON directory.pharmacies TO auth;
GRANT SELECT (tenant_id, id, name, kana, status, is_pharmacist) ON directory.users TO auth;
GRANT SELECT (tenant_id, kind, value, user_id) ON directory.login_identifiers TO auth, auth_login;
GRANT SELECT (tenant_id, user_id, organisation_id, pharmacy_id, is_primary, valid_from, valid_to)
ON directory.memberships TO auth;
GRANT SELECT (tenant_id, user_id, role, organisation_id, pharmacy_id, revoked_at) ON directory.role_grants TO auth;

-- Somebody types an address before anybody knows their tenant. In a migration's transaction it can't be built beside
-- writers; it comes with the service's first release, before anybody logs in.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX login_identifiers_value ON directory.login_identifiers (kind, value);
CREATE POLICY login ON directory.login_identifiers FOR SELECT TO auth_login USING (true);
COMMENT ON POLICY login ON directory.login_identifiers IS 'rls:exempt only auth.find_login runs as auth_login';

GRANT SELECT (tenant_id, id, slug, ended_at) ON auth.upstreams TO auth_login;
CREATE POLICY login ON auth.upstreams FOR SELECT TO auth_login USING (true);
COMMENT ON POLICY login ON auth.upstreams IS 'rls:exempt only auth.find_login runs as auth_login';
