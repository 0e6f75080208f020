"""What is there, as far as the workload made it: enough to decide what can happen next, and with which version."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from services.workload.names import Named


@dataclass(slots=True)
class Organisation:
    """``first_named``: as it was registered; a new name is that one with another ending."""

    id: str
    named: Named
    version: int
    first_named: Named


@dataclass(slots=True)
class Pharmacy:
    id: str
    named: Named
    organisation: Organisation
    version: int
    # Both in the order of their recording: from which day on, and what. A later one is right from its day on.
    run_by: list[tuple[date, str]] = field(default_factory=list)
    codes: list[tuple[date, str]] = field(default_factory=list)

    def run_on(self, day: date) -> str | None:
        """Which organisation ran it; None: it wasn't there yet."""
        if not self.run_by or self.run_by[0][0] > day:
            return None
        return [organisation for since, organisation in self.run_by if since <= day][-1]

    def code_on(self, day: date) -> str | None:
        """The code with the latest first day at or before it."""
        return max(((since, code) for since, code in self.codes if since <= day), default=(day, None))[1]


@dataclass(slots=True)
class Held:
    """A membership or a role grant in force."""

    id: str
    pharmacy: Pharmacy | None
    is_primary: bool = True
    role: str = ""


@dataclass(slots=True)
class User:
    id: str
    named: Named
    status: str
    version: int
    memberships: list[Held] = field(default_factory=list)
    roles: list[Held] = field(default_factory=list)
