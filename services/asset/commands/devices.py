"""Register devices, move them between pharmacies, report them lost and found, retire them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, StringConstraints

from services.asset.commands.assignments import release_all_of_device
from services.asset.events import DEVICE, DEVICE_FOUND, DEVICE_LOST, DEVICE_MOVED, DEVICE_REGISTERED, DEVICE_RETIRED
from services.shared.errors import Conflict, NotFound
from services.shared.event import EventType, Recorded, record
from services.shared.state import lock
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, printable

Serial = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80), AfterValidator(printable)
]


class RegisterDevice(Command):
    pharmacy_id: UUID
    kind: Literal["terminal", "tablet", "scanner", "card_reader"]
    serial: Serial


class MoveDevice(Command):
    pharmacy_id: UUID


class ReportDevice(Command):
    pass


def register(transaction: TenantTransaction, id: UUID, body: RegisterDevice) -> Done:
    """Raises NotFound for an unknown pharmacy, Conflict for a serial number that the tenant has already."""
    _need_pharmacy(transaction, body.pharmacy_id)
    touched = transaction.execute(
        "INSERT INTO asset.devices (id, tenant_id, pharmacy_id, kind, serial, status, version) "
        "VALUES (%s, %s, %s, %s, %s, 'in_use', 1) ON CONFLICT DO NOTHING",
        (id, transaction.tenant_id, body.pharmacy_id, body.kind, body.serial),
    )
    if touched == 0:
        raise Conflict("the tenant has a device of that serial number", fix="find that one, or check the number")
    return Done.of(record(transaction, DEVICE_REGISTERED, id, 1), created=True)


def move(transaction: TenantTransaction, id: UUID, expected_version: int, body: MoveDevice) -> Done:
    """Raises NotFound, VersionConflict, Conflict when it stands there already or isn't in use."""
    device = lock(transaction, DEVICE, id, expected_version)
    _need_pharmacy(transaction, body.pharmacy_id)
    if device["status"] != "in_use":
        raise Conflict(f"the device is {device['status']}")
    if device["pharmacy_id"] == body.pharmacy_id:
        raise Conflict("it stands there already")
    transaction.execute(
        "UPDATE asset.devices SET pharmacy_id = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.pharmacy_id, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, DEVICE_MOVED, id, expected_version + 1))


def lose(transaction: TenantTransaction, id: UUID, expected_version: int) -> Done:
    """Its seats are released with it, so whoever holds it opens nothing. Raises NotFound, VersionConflict, Conflict."""
    lost = _turn(transaction, id, expected_version, ("in_use",), "lost", DEVICE_LOST)
    return Done.of(lost, *release_all_of_device(transaction, id))


def find(transaction: TenantTransaction, id: UUID, expected_version: int) -> Done:
    """In use again; its seats have to be given anew. Raises NotFound, VersionConflict, Conflict."""
    return Done.of(_turn(transaction, id, expected_version, ("lost",), "in_use", DEVICE_FOUND))


def retire(transaction: TenantTransaction, id: UUID, expected_version: int) -> Done:
    """Out of use for good, its seats released. Raises NotFound, VersionConflict, Conflict."""
    retired = _turn(transaction, id, expected_version, ("in_use", "lost"), "retired", DEVICE_RETIRED)
    return Done.of(retired, *release_all_of_device(transaction, id))


def _turn(
    transaction: TenantTransaction,
    id: UUID,
    expected_version: int,
    allowed: tuple[str, ...],
    status: str,
    event: EventType,
) -> Recorded:
    device = lock(transaction, DEVICE, id, expected_version)
    if device["status"] not in allowed:
        raise Conflict(f"the device is {device['status'].replace('_', ' ')}")
    transaction.execute(
        "UPDATE asset.devices SET status = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (status, transaction.tenant_id, id),
    )
    return record(transaction, event, id, expected_version + 1)


def _need_pharmacy(transaction: TenantTransaction, id: UUID) -> None:
    found = transaction.row(
        "SELECT 1 AS x FROM directory.pharmacies WHERE tenant_id = %s AND id = %s", (transaction.tenant_id, id)
    )
    if found is None:
        raise NotFound(f"there is no pharmacy {id}")
