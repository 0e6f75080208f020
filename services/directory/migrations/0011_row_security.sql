-- Row security: one policy per table, for every role, the owner included. No tenant bound: no rows.

ALTER TABLE directory.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.tenants
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.organisations ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.organisations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.organisations
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.pharmacies ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.pharmacies FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.pharmacies
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.users FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.users
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.login_identifiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.login_identifiers FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.login_identifiers
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.memberships
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.role_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.role_grants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.role_grants
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.events
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE directory.idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE directory.idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON directory.idempotency_keys
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));
