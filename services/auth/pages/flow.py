"""How far a login has come: sealed into a text that travels with the forms, so that nothing is kept for strangers.

Bound to a cookie of the browser that began it: a form that another site sends, or that another browser began, is no
form of ours. This is what keeps a login from being forged (CSRF).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import Request, Response
from starlette.datastructures import ImmutableMultiDict

from services.auth.parts import Parts
from services.auth.protocol.wire import Parameters
from services.auth.sessions import Session
from services.auth.vault import Unreadable

_LIFE_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Flow:
    """``authorize``: the product's request, answered at the end; without one, the end is our own page ``page``."""

    id: str
    began_at: int
    authorize: dict[str, str] | None = None
    page: str = "/account"
    wants_two: bool = False  # the product insists on two factors
    session_id: str | None = None  # the browser's session, where that is to be proved anew
    # Who has shown a password, and may show a second factor
    tenant_id: str | None = None
    user_id: str | None = None
    amr: tuple[str, ...] = ()
    # Several tenants know the address and the password: (tenant, user) to choose from
    choices: tuple[tuple[str, str], ...] = ()
    challenge: str | None = None  # WebAuthn's, base64url
    seed: str | None = None  # TOTP's, while it is being set up
    password: dict[str, str] | None = None  # too short to be kept before there is a second factor: its hash, its link
    upstream: dict[str, str] | None = None  # while away at a tenant's own identity provider
    enrolment: str | None = None  # the link that is used by connecting a login there
    upstream_id: str | None = None  # the one that has said who it is

    @classmethod
    def begin(cls, authorize: dict[str, str] | None = None, *, page: str = "/account", wants_two: bool = False) -> Flow:
        return cls(str(uuid4()), int(time.time()), authorize, page, wants_two)

    def of(self, tenant_id: UUID, user_id: UUID, *amr: str) -> Flow:
        return replace(self, tenant_id=str(tenant_id), user_id=str(user_id), amr=amr, choices=())

    def renewing(self, session: Session) -> Flow:
        """What the session's person has shown counts."""
        return replace(self.of(session.tenant_id, session.user_id, *session.amr), session_id=str(session.id))

    def proved(self, *amr: str) -> Flow:
        """A second factor has been shown, too (RFC 8176)."""
        return replace(self, amr=tuple(dict.fromkeys((*self.amr, *amr, "mfa"))))

    @property
    def onward(self) -> str:
        """Where the login was for, as a link of ours: with a session, /authorize answers at once."""
        if self.authorize is None:
            return self.page
        asked = {name: value for name, value in self.authorize.items() if name not in ("prompt", "max_age")}
        return f"/authorize?{urlencode(asked)}"

    @property
    def correlation_id(self) -> UUID:
        return UUID(self.id)

    @property
    def asked(self) -> Parameters:
        """The product's request."""
        return ImmutableMultiDict(self.authorize or {})

    @property
    def whose(self) -> tuple[UUID, UUID] | None:
        """Tenant and user, once a password (or an upstream) has shown who it is."""
        if self.tenant_id is None or self.user_id is None:
            return None
        return UUID(self.tenant_id), UUID(self.user_id)


class FlowLost(Exception):
    """Expired, from another browser, or made up: begin again."""


def browser_cookie(parts: Parts) -> str:
    return "__Host-browser" if parts.settings.https else "browser"


def pack(parts: Parts, request: Request, flow: Flow) -> str:
    """Needs the browser's cookie: see mark_browser."""
    return parts.vault.pack(asdict(flow), _browser(parts, request))


def unpack(parts: Parts, request: Request, text: str | None) -> Flow:
    """Raises FlowLost."""
    browser = _browser(parts, request)
    if not text or not browser:
        raise FlowLost
    try:
        told: dict[str, Any] = parts.vault.unpack(text, browser)
    except Unreadable as error:
        raise FlowLost from error
    if not 0 <= time.time() - told["began_at"] <= _LIFE_S:
        raise FlowLost
    told["amr"] = tuple(told["amr"])
    told["choices"] = tuple((tenant, user) for tenant, user in told["choices"])
    return Flow(**told)


def mark_browser(parts: Parts, request: Request, response: Response) -> None:
    """Give the browser its cookie if it has none; what was packed for this request is bound to it already."""
    fresh = getattr(request.state, "fresh_browser", None)
    if fresh is not None:
        response.set_cookie(
            browser_cookie(parts), fresh, max_age=30 * 86400, secure=parts.settings.https, httponly=True, samesite="lax"
        )


def _browser(parts: Parts, request: Request) -> str:
    known = request.cookies.get(browser_cookie(parts), "")
    if 20 <= len(known) <= 64 and known.isascii():
        return known
    fresh: str | None = getattr(request.state, "fresh_browser", None)
    if fresh is None:
        fresh = request.state.fresh_browser = secrets.token_urlsafe(24)
    return fresh
