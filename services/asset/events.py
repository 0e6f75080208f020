"""The domain events of the assets, and the columns of the state that each carries as ``after``.

A table that gains or loses a column needs new schema versions here: recording refuses what isn't declared, so that a
reader of version n may rely on its fields.
"""

from __future__ import annotations

from services.shared.event import Aggregate, EventType

CONTRACT = Aggregate("contract", "asset", "contracts")
LICENSE = Aggregate("license", "asset", "licenses")
DEVICE = Aggregate("device", "asset", "devices")
ASSIGNMENT = Aggregate("assignment", "asset", "assignments")
AGGREGATES = (CONTRACT, LICENSE, DEVICE, ASSIGNMENT)


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


_CONTRACT_V1 = _columns("id tenant_id number starts_on ends_on terminated_at version created_at updated_at")
_LICENSE_V1 = _columns("id tenant_id contract_id product seats version created_at updated_at")
_DEVICE_V1 = _columns("id tenant_id pharmacy_id kind serial status version created_at updated_at")
_ASSIGNMENT_V1 = _columns(
    "id tenant_id license_id product seat user_id device_id assigned_at released_at version created_at updated_at"
)

CONTRACT_SIGNED = EventType("contract.signed", 1, CONTRACT, _CONTRACT_V1)
CONTRACT_TERMINATED = EventType("contract.terminated", 1, CONTRACT, _CONTRACT_V1)
LICENSE_ISSUED = EventType("license.issued", 1, LICENSE, _LICENSE_V1)
LICENSE_RESIZED = EventType("license.resized", 1, LICENSE, _LICENSE_V1)
DEVICE_REGISTERED = EventType("device.registered", 1, DEVICE, _DEVICE_V1)
DEVICE_MOVED = EventType("device.moved", 1, DEVICE, _DEVICE_V1)
DEVICE_LOST = EventType("device.lost", 1, DEVICE, _DEVICE_V1)
DEVICE_FOUND = EventType("device.found", 1, DEVICE, _DEVICE_V1)
DEVICE_RETIRED = EventType("device.retired", 1, DEVICE, _DEVICE_V1)
SEAT_ASSIGNED = EventType("seat.assigned", 1, ASSIGNMENT, _ASSIGNMENT_V1)
SEAT_RELEASED = EventType("seat.released", 1, ASSIGNMENT, _ASSIGNMENT_V1)

ALL = (
    CONTRACT_SIGNED,
    CONTRACT_TERMINATED,
    LICENSE_ISSUED,
    LICENSE_RESIZED,
    DEVICE_REGISTERED,
    DEVICE_MOVED,
    DEVICE_LOST,
    DEVICE_FOUND,
    DEVICE_RETIRED,
    SEAT_ASSIGNED,
    SEAT_RELEASED,
)
