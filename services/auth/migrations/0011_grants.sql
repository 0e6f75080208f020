-- Exactly what the service does. It never truncates, and can move no row to another id or tenant: updates are granted by
-- column.
GRANT USAGE ON SCHEMA rls, auth TO auth, auth_secrets;

GRANT SELECT, INSERT ON
    auth.clients, auth.signing_keys, auth.accounts, auth.factors, auth.sessions, auth.session_handles, auth.grants,
    auth.codes, auth.refresh_tokens, auth.upstreams, auth.upstream_links, auth.events, auth.idempotency_keys
TO auth;

GRANT UPDATE (
    name, auth_method, redirect_uris, post_logout_redirect_uris, scopes, may_refresh, may_introspect,
    requires_second_factor, ended_at
) ON auth.clients TO auth;
GRANT UPDATE (state, current_at, retired_at) ON auth.signing_keys TO auth;
GRANT UPDATE (has_password, needs_second_factor, failed_in_a_row, locked_until, version, updated_at)
ON auth.accounts TO auth;
GRANT UPDATE (removed_at, version) ON auth.factors TO auth;
GRANT UPDATE (ended_at, ended_by, version) ON auth.sessions TO auth;
GRANT UPDATE (last_seen_at) ON auth.session_handles TO auth;
GRANT UPDATE (revoked_at, revoked_by, version) ON auth.grants TO auth;
GRANT UPDATE (used_at) ON auth.codes, auth.refresh_tokens TO auth;
GRANT UPDATE (name, ended_at, version, updated_at) ON auth.upstreams TO auth;
GRANT UPDATE (unlinked_at, version) ON auth.upstream_links TO auth;

GRANT SELECT, INSERT ON
    auth.client_secrets, auth.signing_key_secrets, auth.passwords, auth.totp_seeds, auth.webauthn_credentials,
    auth.recovery_codes, auth.enrolments, auth.upstream_secrets, auth.subject_keys, auth.event_secrets
TO auth_secrets;
GRANT UPDATE (ended_at) ON auth.client_secrets TO auth_secrets;
GRANT UPDATE (hash, set_at) ON auth.passwords TO auth_secrets;
GRANT UPDATE (last_step) ON auth.totp_seeds TO auth_secrets;
GRANT UPDATE (sign_count) ON auth.webauthn_credentials TO auth_secrets;
GRANT UPDATE (used_at) ON auth.recovery_codes, auth.enrolments TO auth_secrets;
-- A removed factor's seed and a shredded person's key have to be gone, not marked.
GRANT DELETE ON
    auth.totp_seeds, auth.webauthn_credentials, auth.recovery_codes, auth.subject_keys
TO auth_secrets;
