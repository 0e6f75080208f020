"""The domain events of the assets, and the schema version of the state that each carries as ``after``.

A version's JSON schema is ``states/<aggregate>.v<n>.json``. A table that gains or loses a column needs a new one
(``python -m services.journal schema``) and an upcaster; recording refuses a row that differs from its schema, so that a
reader of version n may rely on its fields. A schema that was shipped is never edited.
"""

from __future__ import annotations

from pathlib import Path

from services.shared.event import Aggregate, EventType

CONTRACT = Aggregate("contract", "asset", "contracts")
LICENSE = Aggregate("license", "asset", "licenses")
DEVICE = Aggregate("device", "asset", "devices")
ASSIGNMENT = Aggregate("assignment", "asset", "assignments")
# Each after those that it refers to.
AGGREGATES = (CONTRACT, LICENSE, DEVICE, ASSIGNMENT)


STATES = Path(__file__).with_name("states")


def _event(name: str, version: int, aggregate: Aggregate, *, since: int = 1) -> EventType:
    return EventType.of(STATES, name, version, aggregate, since=since)


CONTRACT_SIGNED = _event("contract.signed", 1, CONTRACT)
CONTRACT_TERMINATED = _event("contract.terminated", 1, CONTRACT)
LICENSE_ISSUED = _event("license.issued", 1, LICENSE)
LICENSE_RESIZED = _event("license.resized", 1, LICENSE)
DEVICE_REGISTERED = _event("device.registered", 1, DEVICE)
DEVICE_MOVED = _event("device.moved", 1, DEVICE)
DEVICE_LOST = _event("device.lost", 1, DEVICE)
DEVICE_FOUND = _event("device.found", 1, DEVICE)
DEVICE_RETIRED = _event("device.retired", 1, DEVICE)
SEAT_ASSIGNED = _event("seat.assigned", 1, ASSIGNMENT)
SEAT_RELEASED = _event("seat.released", 1, ASSIGNMENT)
# Written by asset.reorganise (migrations/0011), not by a command here; its versions are held to these by a test.
CONTRACT_REHOMED = _event("contract.rehomed", 1, CONTRACT)
LICENSE_REHOMED = _event("license.rehomed", 1, LICENSE)
DEVICE_REHOMED = _event("device.rehomed", 1, DEVICE)
SEAT_REHOMED = _event("seat.rehomed", 1, ASSIGNMENT)
REORGANISED = (
    CONTRACT_REHOMED,
    LICENSE_REHOMED,
    DEVICE_REHOMED,
    SEAT_REHOMED,
)

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
    *REORGANISED,
)
