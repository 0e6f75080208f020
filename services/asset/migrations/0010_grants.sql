-- Exactly what the service does. It never deletes, never truncates, and can move no row to another id or tenant:
-- updates are granted by column.
GRANT USAGE ON SCHEMA rls, asset, directory TO asset;

GRANT SELECT ON asset.products TO asset;
GRANT SELECT, INSERT ON
    asset.contracts, asset.licenses, asset.devices, asset.assignments, asset.events, asset.idempotency_keys
TO asset;

GRANT UPDATE (ends_on, terminated_at, version, updated_at) ON asset.contracts TO asset;
GRANT UPDATE (seats, version, updated_at) ON asset.licenses TO asset;
GRANT UPDATE (pharmacy_id, status, version, updated_at) ON asset.devices TO asset;
GRANT UPDATE (released_at, version, updated_at) ON asset.assignments TO asset;

-- Read, never asked for over the network: whose tenant it is, where a device stands, who may hold a seat.
GRANT SELECT ON directory.tenants TO asset;
GRANT SELECT (tenant_id, id, name) ON directory.pharmacies TO asset;
GRANT SELECT (tenant_id, id, status) ON directory.users TO asset;
