"""What a request's handler works with, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, Request

from services.auth.away import Away
from services.auth.handle import NOBODY
from services.auth.keys import Keys
from services.auth.settings import Settings
from services.auth.vault import Vault
from services.shared.context import Context
from services.shared.transaction import Database

_LONGEST_AGENT = 300


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    database: Database
    vault: Vault
    keys: Keys
    away: Away


@dataclass(frozen=True, slots=True)
class Seen:
    """From where a request came. Goes into the secret part of an event, never into the event."""

    address: str
    agent: str
    request_id: str

    def told(self, **more: str | None) -> dict[str, str | None]:
        return {"address": self.address, "agent": self.agent, **more}

    def nobody(self) -> Context:
        """For what belongs to no tenant, or when it isn't known yet."""
        return Context(NOBODY, "system", "auth", self.request_id, uuid4())

    def product(self, tenant_id: UUID) -> Context:
        """A product asks, with a token or a code of that tenant."""
        return Context(tenant_id, "system", "auth", self.request_id, uuid4())

    def person(self, tenant_id: UUID, user_id: UUID, correlation_id: UUID | None = None) -> Context:
        return Context(tenant_id, "user", str(user_id), self.request_id, correlation_id or uuid4())


def parts(request: Request) -> Parts:
    found: Parts = request.app.state.parts
    return found


def seen(request: Request) -> Seen:
    given = request.headers.get("x-request-id", "")
    usable = given.isascii() and given.isprintable() and 0 < len(given) <= 200
    agent = "".join(c for c in request.headers.get("user-agent", "")[:_LONGEST_AGENT] if c.isprintable())
    return Seen(request.client.host if request.client else "", agent, given if usable else str(uuid4()))


WithParts = Annotated[Parts, Depends(parts)]
WithSeen = Annotated[Seen, Depends(seen)]
