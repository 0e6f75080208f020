"""What is there, as far as the workload made it: enough to decide what can happen next, and with which version."""

from __future__ import annotations

from dataclasses import dataclass, field

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
