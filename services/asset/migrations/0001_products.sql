-- What can be licensed. The vendor's catalogue: the same for every tenant, so it belongs to none and has no events;
-- a new product is a new migration, reviewed like one.
CREATE TABLE asset.products (
    code text NOT NULL CHECK (code ~ '^[a-z][a-z0-9_]{1,39}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    seat_of text NOT NULL CHECK (seat_of IN ('user', 'device')), -- who takes a seat
    PRIMARY KEY (code)
);
COMMENT ON TABLE asset.products IS 'rls:exempt the vendor''s catalogue, the same for all tenants';

INSERT INTO asset.products (code, name, seat_of) VALUES
    ('medication_record', '電子薬歴', 'user'),
    ('patient_messaging', '服薬フォロー', 'user'),
    ('dispensing_audit', '調剤監査', 'device'),
    ('e_prescription', '電子処方箋', 'device');
