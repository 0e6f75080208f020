"""The browser's session: the cookie, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request, Response

from services.auth import sessions
from services.auth.handle import NOBODY, Handle
from services.auth.parts import Parts, Seen
from services.auth.sessions import Session
from services.shared.transaction import TenantTransaction


def _cookie(parts: Parts) -> str:
    return "__Host-session" if parts.settings.https else "session"


def handle_of(parts: Parts, request: Request) -> Handle | None:
    return Handle.parse(request.cookies.get(_cookie(parts)))


def remember(parts: Parts, response: Response, handle: Handle) -> None:
    """Until the browser is closed, or the session ends: the server decides."""
    response.set_cookie(_cookie(parts), handle.text, secure=parts.settings.https, httponly=True, samesite="lax")


def forget(parts: Parts, response: Response) -> None:
    response.delete_cookie(_cookie(parts), secure=parts.settings.https, httponly=True, samesite="lax")


@contextmanager
def in_session(parts: Parts, request: Request, seen: Seen) -> Iterator[tuple[TenantTransaction, Session | None]]:
    """A transaction of the session's tenant, or of nobody's when there is no session; somebody is there."""
    handle = handle_of(parts, request)
    context = seen.product(handle.tenant_id if handle else NOBODY)
    with parts.database.tenant_reading(context) as reading:
        session = sessions.of_handle(reading, handle, parts.settings.session_idle) if handle else None
    if session is not None:
        context = seen.person(session.tenant_id, session.user_id)
    with parts.database.tenant_transaction(context) as transaction:
        if session is not None:
            sessions.touch(transaction, session.id)
        yield transaction, session


def csrf(parts: Parts, session: Session) -> str:
    """What a form of a logged-in person carries, and no other site can know."""
    return parts.vault.digest("csrf", str(session.id)).hex()
