"""/account: a person's second factors, and where they are logged in."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid5

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.auth import accounts, factors, people, recovery, sessions, upstreams
from services.auth.pages import device, render, set_up
from services.auth.pages import flow as flows
from services.auth.pages.browser import csrf, forget, in_session
from services.auth.pages.fields import Field
from services.auth.pages.flow import Flow
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.auth.secrets import read_apart
from services.auth.sessions import Session
from services.shared.transaction import TenantTransaction

router = APIRouter(tags=["pages"], include_in_schema=False)
_JAPAN = timezone(timedelta(hours=9))


class LoginFirst(Exception):
    """Nobody is logged in here, or not recently enough for what was asked."""


@router.get("/account")
def show(request: Request, parts: WithParts, seen: WithSeen) -> Response:
    """Who is logged in here; to /login for nobody."""
    with in_session(parts, request, seen) as (transaction, session):
        person = people.find(transaction, session.user_id) if session is not None else None
        if session is None or person is None:
            raise LoginFirst
        owned = factors.of_user(transaction, session.user_id)
        codes = factors.of_kind(owned, "recovery")
        shown: dict[str, Any] = {
            "name": person.name,
            "tenant": people.tenant_name(transaction),
            "factors": [{"id": f.id, "label": f.label, "since": _day(f.enrolled_at)} for f in factors.standing(owned)],
            "upstreams": _upstreams(transaction, session),
            "codes_left": recovery.left(transaction, codes[0].id) if codes else 0,
            "sessions": [
                _told(transaction, parts, each, session)
                for each in sessions.of_user(transaction, session.user_id, parts.settings.session_idle)
            ],
        }
    return render.page(parts, request, "account.html", csrf=csrf(parts, session), **shown)


@router.get("/account/second-factor")
def add_factor(request: Request, parts: WithParts, seen: WithSeen) -> Response:
    with in_session(parts, request, seen) as (transaction, session):
        session = fresh(transaction, session)
    return set_up.page(parts, request, seen, Flow.begin().renewing(session))


@contextmanager
def changing(
    request: Request, parts: Parts, seen: Seen, csrf_given: str
) -> Iterator[tuple[TenantTransaction, Session]]:
    """A form of the account's page. Raises LoginFirst."""
    with in_session(parts, request, seen) as (transaction, session):
        if session is None or not hmac.compare_digest(csrf_given.encode(), csrf(parts, session).encode()):
            raise LoginFirst
        yield transaction, session


@router.post("/account/factors/{id}/remove")
def remove_factor(id: UUID, request: Request, parts: WithParts, seen: WithSeen, csrf: Field = "") -> Response:
    """Every other session ends: it may be whoever the factor was lost to."""
    with changing(request, parts, seen, csrf) as (transaction, session):
        fresh(transaction, session)
        account = accounts.lock(transaction, session.user_id)
        owned = factors.of_user(transaction, session.user_id)
        left = [factor for factor in factors.standing(owned) if factor.id != id]
        if not left and account is not None and account.needs_second_factor:
            return _refused(parts, request)
        for factor in owned:
            if factor.id == id or (factor.kind == "recovery" and not left):
                factors.remove(transaction, factor)
        sessions.end_all(transaction, session.user_id, "factor_changed", but=session.id)
    return RedirectResponse("/account", 303)


@router.post("/account/recovery-codes")
def renew_codes(request: Request, parts: WithParts, seen: WithSeen, csrf: Field = "") -> Response:
    with changing(request, parts, seen, csrf) as (transaction, session):
        fresh(transaction, session)
        accounts.lock(transaction, session.user_id)
        if not factors.standing(factors.of_user(transaction, session.user_id)):
            return RedirectResponse("/account", 303)
        codes = recovery.renew(transaction, parts.vault, session.user_id)
    return render.page(parts, request, "codes.html", codes=codes, onward="/account")


@router.post("/account/sessions/{id}/end")
def end_session(id: UUID, request: Request, parts: WithParts, seen: WithSeen, csrf: Field = "") -> Response:
    """One of the person's own; any other is passed over in silence."""
    with changing(request, parts, seen, csrf) as (transaction, session):
        ended = sessions.find(transaction, id, parts.settings.session_length)
        if ended is not None and ended.user_id == session.user_id:
            sessions.end(transaction, id, "revoked")
    response = RedirectResponse("/account", 303)
    if id == session.id:
        forget(parts, response)
    return response


@router.post("/account/sessions/end-others")
def end_others(request: Request, parts: WithParts, seen: WithSeen, csrf: Field = "") -> Response:
    with changing(request, parts, seen, csrf) as (transaction, session):
        sessions.end_all(transaction, session.user_id, "revoked", but=session.id)
    return RedirectResponse("/account", 303)


def to_login(request: Request, parts: Parts) -> Response:
    """And back to the page that was asked for, or to the account after a form: what it held is asked for again."""
    page = request.url.path if request.method == "GET" else "/account"
    flow = Flow.begin(page=page)
    response = RedirectResponse(f"/login?flow={flows.pack(parts, request, flow)}", 303)
    flows.mark_browser(parts, request, response)
    return response


def fresh(transaction: TenantTransaction, session: Session | None) -> Session:
    """Raises LoginFirst."""
    if session is None or not session.fresh:
        raise LoginFirst
    if session.acr != sessions.TWO_FACTORS and factors.standing(factors.of_user(transaction, session.user_id)):
        raise LoginFirst
    return session


def _upstreams(transaction: TenantTransaction, session: Session) -> list[dict[str, Any]]:
    connected = {link.upstream_id for link in upstreams.links_of(transaction, session.user_id)}
    return [
        {"id": each.id, "name": each.name, "connected": each.id in connected}
        for each in upstreams.of_tenant(transaction)
    ]


def _told(transaction: TenantTransaction, parts: Parts, each: Session, own: Session) -> dict[str, Any]:
    began = read_apart(transaction, parts.vault, uuid5(each.id, "session/1")) or {}
    return {
        "id": each.id,
        "own": each.id == own.id,
        "device": device.named(began.get("agent")),
        "address": began.get("address"),
        "since": _minute(each.started_at),
        "seen": _minute(each.last_seen_at),
        "until": _minute(each.expires_at),
    }


def _refused(parts: Parts, request: Request) -> Response:
    return render.page(
        parts,
        request,
        "message.html",
        status=422,
        title="Your password needs it",
        text="Your password is too short to be used without a second factor. Set up another factor first, or ask for a "
        "link to choose a longer password.",
        detail=None,
    )


def _minute(moment: datetime) -> str:
    return moment.astimezone(_JAPAN).strftime("%Y-%m-%d %H:%M")


def _day(moment: datetime) -> str:
    return moment.astimezone(_JAPAN).strftime("%Y-%m-%d")
