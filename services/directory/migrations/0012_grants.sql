-- Exactly what the service does. It never deletes, never truncates, and can move no row to another id or tenant:
-- updates are granted by column.
GRANT USAGE ON SCHEMA rls, directory TO directory;

GRANT SELECT, INSERT ON
    directory.tenants, directory.organisations, directory.pharmacies, directory.users,
    directory.login_identifiers, directory.memberships, directory.role_grants,
    directory.events, directory.idempotency_keys
TO directory;

GRANT UPDATE (name, kana, aliases, version, updated_at) ON directory.organisations TO directory;
GRANT UPDATE (organisation_id, code, code_valid_from, version, updated_at) ON directory.pharmacies TO directory;
GRANT UPDATE (status, hired_on, retired_on, version, updated_at) ON directory.users TO directory;
GRANT UPDATE (valid_to, version, updated_at) ON directory.memberships TO directory;
GRANT UPDATE (revoked_by, revoked_at, version, updated_at) ON directory.role_grants TO directory;
