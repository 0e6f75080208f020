-- Who holds which seat of a license: a user or a device, whichever the product asks for; until it is released.
CREATE TABLE asset.assignments (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL REFERENCES directory.tenants (tenant_id) DEFERRABLE,
    license_id uuid NOT NULL,
    product text NOT NULL REFERENCES asset.products (code), -- the license's, so that a check reads one index
    seat integer NOT NULL CHECK (seat >= 1),
    user_id uuid,
    device_id uuid,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    version bigint NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, license_id) REFERENCES asset.licenses (tenant_id, id) DEFERRABLE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES directory.users (tenant_id, id) DEFERRABLE,
    FOREIGN KEY (tenant_id, device_id) REFERENCES asset.devices (tenant_id, id) DEFERRABLE,
    CHECK (num_nonnulls(user_id, device_id) = 1)
);
-- A seat has one holder, and nobody holds two of one license.
CREATE UNIQUE INDEX assignments_seat ON asset.assignments (tenant_id, license_id, seat) WHERE released_at IS NULL;
CREATE UNIQUE INDEX assignments_holder ON asset.assignments
    (tenant_id, license_id, user_id, device_id) NULLS NOT DISTINCT WHERE released_at IS NULL;
CREATE INDEX assignments_user ON asset.assignments (tenant_id, user_id, product) WHERE released_at IS NULL;
CREATE INDEX assignments_device ON asset.assignments (tenant_id, device_id, product) WHERE released_at IS NULL;

-- Seats are never overdrawn, also by SQL that counts wrongly or not at all: a seat has a number, each number has one
-- holder (the index above), and no number lies beyond the license's seats. The license's row is locked meanwhile, so
-- that seats can't shrink below a number which another transaction is giving out.
CREATE FUNCTION asset.refuse_overdraw() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    given integer;
BEGIN
    SELECT seats INTO given FROM asset.licenses
    WHERE tenant_id = NEW.tenant_id AND id = NEW.license_id FOR NO KEY UPDATE;
    IF NEW.released_at IS NULL AND NEW.seat > given THEN
        RAISE EXCEPTION 'seat % of license % refused: it has %', NEW.seat, NEW.license_id, given
            USING ERRCODE = 'check_violation', CONSTRAINT = 'assignments_within_seats';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse_overdraw BEFORE INSERT OR UPDATE ON asset.assignments
    FOR EACH ROW EXECUTE FUNCTION asset.refuse_overdraw();

CREATE FUNCTION asset.refuse_shrinking() RETURNS trigger
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM asset.assignments
        WHERE tenant_id = NEW.tenant_id AND license_id = NEW.id AND released_at IS NULL AND seat > NEW.seats
    ) THEN
        RAISE EXCEPTION 'license % can''t shrink to % seats: a higher one is held', NEW.id, NEW.seats
            USING ERRCODE = 'check_violation', CONSTRAINT = 'licenses_cover_assignments';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse_shrinking BEFORE UPDATE ON asset.licenses
    FOR EACH ROW WHEN (NEW.seats < OLD.seats) EXECUTE FUNCTION asset.refuse_shrinking();
