-- What of auth leaves for the lake: the login history and what it is about. Left out on purpose: whatever proves
-- something, whatever encrypts something, and what changes with every request (session_handles, codes, refresh_tokens).
ALTER PUBLICATION rireki_platform ADD TABLE
    auth.accounts (
        user_id, tenant_id, has_password, needs_second_factor, failed_in_a_row, locked_until, version, created_at,
        updated_at
    ),
    auth.factors (
        id, tenant_id, user_id, kind, label, enrolled_at, removed_at, version
    ),
    auth.sessions (
        id, tenant_id, user_id, amr, acr, upstream_id, started_at, expires_at, ended_at, ended_by, version,
        authenticated_at
    ),
    auth.grants (
        id, tenant_id, user_id, session_id, client_id, scope, granted_at, revoked_at, revoked_by, version
    ),
    auth.upstreams (
        id, tenant_id, slug, name, issuer, client_id, ended_at, version, created_at, updated_at
    ),
    auth.upstream_links (
        id, tenant_id, upstream_id, issuer, subject, user_id, linked_at, unlinked_at, version
    ),
    auth.events (
        event_id, tenant_id, aggregate_type, aggregate_id, aggregate_version, event_type, schema_version, after, changed,
        effective_at, occurred_at, recorded_at, actor_type, actor_id, on_behalf_of, reason, correlation_id, causation_id,
        request_id, origin
    );
