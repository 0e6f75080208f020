-- Row security: one policy per table, for every role, the owner included. No tenant bound: no rows.

ALTER TABLE asset.contracts ENABLE ROW LEVEL SECURITY;
ALTER TABLE asset.contracts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON asset.contracts
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE asset.licenses ENABLE ROW LEVEL SECURITY;
ALTER TABLE asset.licenses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON asset.licenses
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE asset.devices ENABLE ROW LEVEL SECURITY;
ALTER TABLE asset.devices FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON asset.devices
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE asset.assignments ENABLE ROW LEVEL SECURITY;
ALTER TABLE asset.assignments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON asset.assignments
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE asset.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE asset.events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON asset.events
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE asset.idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE asset.idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON asset.idempotency_keys
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));
