"""The workload's oracle against any witness: PostgreSQL's tables, the events, the lake.

A witness gives the rows of one tenant as of a source time: ``rows(at, tenant, "directory.users")`` as dicts.
``differences`` says what it tells otherwise than the oracle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

TABLES = (
    *("directory.users", "directory.memberships", "directory.role_grants", "directory.organisations"),
    *("directory.pharmacies", "directory.pharmacy_codes", "asset.devices", "asset.assignments"),
)


class Witness(Protocol):
    def rows(self, at: str, tenant: str, table: str) -> list[dict[str, Any]]: ...


def differences(instant: dict[str, Any], witness: Witness) -> list[str]:
    return [f"{instant['at']}: {told}" for told in _differences(instant, witness)]


def _differences(instant: dict[str, Any], witness: Witness) -> Iterator[str]:
    at, tenant = instant["at"], instant["tenant_id"]
    users, memberships, roles, organisations, pharmacies, codes, devices, seats = (
        {str(row["id"]): row for row in witness.rows(at, tenant, table)} for table in TABLES
    )
    for id, expected in instant["users"].items():
        held = [row for row in memberships.values() if str(row["user_id"]) == id and row["valid_to"] is None]
        granted = [row for row in roles.values() if str(row["user_id"]) == id and row["revoked_at"] is None]
        found = {
            "status": users[id]["status"] if id in users else None,
            "name": users[id]["name"] if id in users else None,
            "memberships": sorted(
                ({"pharmacy_id": str(m["pharmacy_id"]), "is_primary": m["is_primary"]} for m in held),
                key=lambda row: str(row["pharmacy_id"]),
            ),
            "roles": sorted(
                ({"role": r["role"], "pharmacy_id": r["pharmacy_id"] and str(r["pharmacy_id"])} for r in granted),
                key=lambda row: (str(row["role"]), str(row["pharmacy_id"])),
            ),
        }
        if found != expected:
            yield f"user {id}: {found}, not {expected}"
    for id in instant["retired"]:
        if users.get(id, {}).get("status") != "retired":
            yield f"user {id} hasn't retired"
    for id, name in instant["organisations"].items():
        if organisations.get(id, {}).get("name") != name:
            yield f"organisation {id} isn't called {name}"
    for id, expected in instant["pharmacies"].items():
        row = pharmacies.get(id, {})
        if {"organisation_id": str(row.get("organisation_id")), "code": row.get("code")} != expected:
            yield f"pharmacy {id}: {row}, not {expected}"
    for id, expected in instant["devices"].items():
        row = devices.get(id, {})
        if {"pharmacy_id": str(row.get("pharmacy_id")), "status": row.get("status")} != expected:
            yield f"device {id}: {row}, not {expected}"
    open_seats = {
        id: {name: row[name] and str(row[name]) for name in ("license_id", "user_id", "device_id")}
        for id, row in seats.items()
        if row["released_at"] is None
    }
    if open_seats != instant["seats"]:
        yield f"seats: {open_seats}, not {instant['seats']}"
    for asked in instant["valid"]:
        in_force = [
            (str(row["valid_from"]), row["code"])
            for row in codes.values()
            if str(row["pharmacy_id"]) == asked["pharmacy_id"] and str(row["valid_from"]) <= asked["on"]
        ]
        if max(in_force, default=(None, None))[1] != asked["code"]:
            yield f"code of {asked['pharmacy_id']} on {asked['on']}: {in_force}, not {asked['code']}"
