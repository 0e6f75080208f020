-- What of the directory leaves for the lake: these tables, these columns, nothing else.
-- Left out on purpose: login_identifiers (e-mail addresses), idempotency_keys and migrations (no state of the business).
-- A column added to a table stays at home until it is added here.
CREATE PUBLICATION rireki_platform FOR TABLE
    directory.tenants (
        tenant_id, name, kana, corporate_number, pharmacy_limit, version, created_at, updated_at, merged_into
    ),
    directory.organisations (
        id, tenant_id, parent_id, kind, name, kana, aliases, version, created_at, updated_at, closed_on
    ),
    directory.pharmacies (
        id, tenant_id, organisation_id, name, kana, code, code_valid_from, prefecture, opened_on, dispensing_area_m2,
        opening_hours, services, accepts_e_prescription, version, created_at, updated_at, closed_on
    ),
    directory.pharmacy_codes (
        id, tenant_id, pharmacy_id, code, valid_from, version, created_at, updated_at
    ),
    directory.users (
        id, tenant_id, name, kana, status, is_pharmacist, hired_on, retired_on, version, created_at, updated_at
    ),
    directory.memberships (
        id, tenant_id, user_id, organisation_id, pharmacy_id, is_primary, weekly_hours, valid_from, valid_to,
        version, created_at, updated_at
    ),
    directory.role_grants (
        id, tenant_id, user_id, role, organisation_id, pharmacy_id, granted_by, granted_at, revoked_by, revoked_at,
        version, created_at, updated_at
    ),
    directory.events (
        event_id, tenant_id, aggregate_type, aggregate_id, aggregate_version, event_type, schema_version, after, changed,
        effective_at, occurred_at, recorded_at, actor_type, actor_id, on_behalf_of, reason, correlation_id, causation_id,
        request_id, origin
    );
