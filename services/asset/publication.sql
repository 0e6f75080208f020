-- What of the assets leaves for the lake: these tables, these columns, nothing else. One publication for the platform,
-- so that one stream carries all services in the order of their commits.
ALTER PUBLICATION rireki_platform ADD TABLE
    asset.products (
        code, name, seat_of
    ),
    asset.contracts (
        id, tenant_id, number, starts_on, ends_on, terminated_at, version, created_at, updated_at
    ),
    asset.licenses (
        id, tenant_id, contract_id, product, seats, version, created_at, updated_at
    ),
    asset.devices (
        id, tenant_id, pharmacy_id, kind, serial, status, version, created_at, updated_at
    ),
    asset.assignments (
        id, tenant_id, license_id, product, seat, user_id, device_id, assigned_at, released_at,
        version, created_at, updated_at
    ),
    asset.events (
        event_id, tenant_id, aggregate_type, aggregate_id, aggregate_version, event_type, schema_version, after, changed,
        effective_at, occurred_at, recorded_at, actor_type, actor_id, on_behalf_of, reason, correlation_id, causation_id,
        request_id, origin
    );
