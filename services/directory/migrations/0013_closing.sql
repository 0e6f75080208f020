-- Organisations and pharmacies end: from that day on they take nobody in. Their state gains a column, so their events
-- gain a schema version.
ALTER TABLE directory.organisations ADD COLUMN closed_on date;
ALTER TABLE directory.pharmacies ADD COLUMN closed_on date;

GRANT UPDATE (name, kana, version, updated_at) ON directory.tenants TO directory;
GRANT UPDATE (parent_id, closed_on) ON directory.organisations TO directory;
GRANT UPDATE (name, kana, closed_on) ON directory.pharmacies TO directory;
GRANT UPDATE (name, kana) ON directory.users TO directory;
GRANT UPDATE (value, user_version) ON directory.login_identifiers TO directory;
