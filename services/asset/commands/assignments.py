"""Give seats to users and devices, and take them back."""

from __future__ import annotations

from uuid import UUID

from pydantic import model_validator

from services.asset.events import ASSIGNMENT, DEVICE, LICENSE, SEAT_ASSIGNED, SEAT_RELEASED
from services.shared.errors import Conflict, InvalidRequest, NotFound
from services.shared.event import Recorded, record
from services.shared.state import hold, lock, take
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command


class AssignSeat(Command):
    """To a user or to a device, exactly one of them."""

    user_id: UUID | None = None
    device_id: UUID | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> AssignSeat:
        if (self.user_id is None) == (self.device_id is None):
            raise ValueError("name either user_id or device_id")
        return self


class ReleaseSeat(Command):
    pass


def assign(transaction: TenantTransaction, id: UUID, license_id: UUID, body: AssignSeat) -> Done:
    """The lowest free seat. Who assigns waits for whoever assigns seats of the same license.

    Raises NotFound, InvalidRequest for a user where the product asks for a device (and the other way round), Conflict
    when every seat is held, the holder has one already, or may not hold one.
    """
    _need_holder(transaction, body)
    license = take(transaction, LICENSE, license_id)
    _need_kind(transaction, license["product"], body)
    free = transaction.row(
        "SELECT min(seat) AS seat FROM generate_series(1, %s) AS seat WHERE seat NOT IN ("
        "SELECT a.seat FROM asset.assignments AS a "
        "WHERE a.tenant_id = %s AND a.license_id = %s AND a.released_at IS NULL)",
        (license["seats"], transaction.tenant_id, license_id),
    )
    if free is None or free["seat"] is None:
        raise Conflict(f"all {license['seats']} seats are held", fix="release one, or resize the license")
    touched = transaction.execute(
        "INSERT INTO asset.assignments (id, tenant_id, license_id, product, seat, user_id, device_id, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, 1) ON CONFLICT DO NOTHING",
        (
            id,
            transaction.tenant_id,
            license_id,
            license["product"],
            free["seat"],
            body.user_id,
            body.device_id,
        ),
    )
    if touched == 0:
        raise Conflict("the holder has a seat of this license already")
    return Done.of(record(transaction, SEAT_ASSIGNED, id, 1), created=True)


def release(transaction: TenantTransaction, id: UUID, expected_version: int) -> Done:
    """Raises NotFound, VersionConflict, Conflict when it is released already."""
    assignment = lock(transaction, ASSIGNMENT, id, expected_version)
    if assignment["released_at"] is not None:
        raise Conflict("the seat is released already")
    return Done.of(_release(transaction, id))


def release_all_of_device(transaction: TenantTransaction, device_id: UUID) -> list[Recorded]:
    """Every seat of a device that this transaction has locked."""
    held = transaction.rows(
        "SELECT id FROM asset.assignments WHERE tenant_id = %s AND device_id = %s AND released_at IS NULL "
        "ORDER BY license_id, id FOR NO KEY UPDATE",
        (transaction.tenant_id, device_id),
    )
    return [_release(transaction, row["id"]) for row in held]


def _release(transaction: TenantTransaction, id: UUID) -> Recorded:
    row = transaction.row(
        "UPDATE asset.assignments SET released_at = now(), version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s RETURNING version",
        (transaction.tenant_id, id),
    )
    assert row is not None  # locked by the caller
    return record(transaction, SEAT_RELEASED, id, row["version"])


def _need_holder(transaction: TenantTransaction, body: AssignSeat) -> None:
    if body.device_id is not None:
        device = hold(transaction, DEVICE, body.device_id)
        if device["status"] != "in_use":
            raise Conflict(f"the device is {device['status'].replace('_', ' ')}")
        return
    user = transaction.row(
        "SELECT status FROM directory.users WHERE tenant_id = %s AND id = %s", (transaction.tenant_id, body.user_id)
    )
    if user is None:
        raise NotFound(f"there is no user {body.user_id}")
    if user["status"] == "retired":
        raise Conflict("the user has retired")


def _need_kind(transaction: TenantTransaction, product: str, body: AssignSeat) -> None:
    row = transaction.row("SELECT seat_of FROM asset.products WHERE code = %s", (product,))
    asked = "user" if body.user_id is not None else "device"
    if row is not None and row["seat_of"] != asked:
        raise InvalidRequest(f"a seat of {product} is a {row['seat_of']}'s", fix=f"send {row['seat_of']}_id")
