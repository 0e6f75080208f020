"""What must have been true at random instants, from what the workload itself did: told without the events.

Two times. ``at`` is a source time between two commands of one chain: whoever asks the database, the events or the lake
as of then must find exactly this. ``valid`` asks beside it what counted on an earlier day, as known at ``at``: which
organisation ran a pharmacy and which code it had, designations that came back-dated included.

    {"tenant_id", "at",
     "users": {id: {"status", "name", "memberships": [{"pharmacy_id", "is_primary"}],
                    "roles": [{"role", "pharmacy_id"}]}},
     "retired": [id], "organisations": {id: name},
     "pharmacies": {id: {"organisation_id", "code"}},
     "devices": {id: {"pharmacy_id", "status"}}, "seats": {assignment id: {"license_id", "user_id", "device_id"}},
     "valid": [{"on": "2026-05-03", "pharmacy_id", "organisation_id": null if it wasn't there yet, "code"}]}
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any

from services.workload.chain import Chain
from services.workload.things import Pharmacy, User

_FIRST_DAY, _LAST_DAY = date(1999, 1, 1), date(2026, 10, 31)
_PER_CHAIN = 12
_VALID_PER_INSTANT = 6


class Oracle:
    """A sample of one chain's instants, each as likely as any other; memory doesn't grow with the run."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._random = Random(f"{chain.seed}/{chain.number}/oracle")  # its own: it changes nothing that happens
        self._seen = 0
        self.instants: list[dict[str, Any]] = []

    def look(self) -> None:
        """Between two things that happen."""
        self._seen += 1
        if len(self.instants) < _PER_CHAIN:
            self.instants.append(self._now())
        elif self._random.random() < _PER_CHAIN / self._seen:
            self.instants[self._random.randrange(_PER_CHAIN)] = self._now()

    def _now(self) -> dict[str, Any]:
        chain, desk = self._chain, self._chain.assets
        return {
            "tenant_id": chain.tenant_id,
            "at": chain.seen_at,
            "users": {user.id: _user(user) for user in chain.users},
            "retired": list(chain.retired),
            "organisations": {one.id: one.named.name for one in chain.organisations},
            "pharmacies": {
                one.id: {"organisation_id": one.organisation.id, "code": one.code_on(date.max)}
                for one in chain.pharmacies
            },
            "devices": {d.id: {"pharmacy_id": d.pharmacy.id, "status": d.status} for d in desk.devices} if desk else {},
            "seats": {s.id: s.holder for s in desk.seats} if desk else {},
            "valid": [self._valid(self._random.choice(chain.pharmacies)) for _ in range(_VALID_PER_INSTANT)],
        }

    def _valid(self, pharmacy: Pharmacy) -> dict[str, Any]:
        """On a random day, as often as not on one when something changed."""
        on = _FIRST_DAY + timedelta(days=self._random.randrange((_LAST_DAY - _FIRST_DAY).days))
        days = [day for day, _ in pharmacy.run_by if day <= _LAST_DAY]
        if days and self._random.random() < 0.5:
            on = self._random.choice(days)
        return {
            "on": on.isoformat(),
            "pharmacy_id": pharmacy.id,
            "organisation_id": pharmacy.run_on(on),
            "code": pharmacy.code_on(on),
        }


def _user(user: User) -> dict[str, Any]:
    return {
        "status": user.status,
        "name": user.named.name,
        "memberships": sorted(
            ({"pharmacy_id": m.pharmacy.id, "is_primary": m.is_primary} for m in user.memberships if m.pharmacy),
            key=lambda row: str(row["pharmacy_id"]),
        ),
        "roles": sorted(
            ({"role": held.role, "pharmacy_id": held.pharmacy and held.pharmacy.id} for held in user.roles),
            key=lambda row: (str(row["role"]), str(row["pharmacy_id"])),
        ),
    }
