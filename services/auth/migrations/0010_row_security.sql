-- Row security: one policy per table, for every role, the owner included. No tenant bound: no rows.

ALTER TABLE auth.accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.accounts
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.factors ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.factors FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.factors
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.sessions
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.session_handles ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.session_handles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.session_handles
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.grants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.grants
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.codes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.codes
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.refresh_tokens
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.upstreams ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.upstreams FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.upstreams
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.upstream_links ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.upstream_links FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.upstream_links
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.passwords ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.passwords FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.passwords
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.totp_seeds ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.totp_seeds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.totp_seeds
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.webauthn_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.webauthn_credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.webauthn_credentials
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.recovery_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.recovery_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.recovery_codes
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.enrolments ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.enrolments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.enrolments
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.upstream_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.upstream_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.upstream_secrets
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.subject_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.subject_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.subject_keys
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.event_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.event_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.event_secrets
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.events
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));

ALTER TABLE auth.idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON auth.idempotency_keys
    USING (tenant_id = (SELECT rls.tenant())) WITH CHECK (tenant_id = (SELECT rls.tenant()));
