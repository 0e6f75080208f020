"""/sso: log in at the tenant's own identity provider, or connect one's login there with one's user here.

The browser leaves by a page and not by a redirect: browsers hold the redirects that answer a form to form-action, too.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.auth import accounts, credentials, people, upstreams
from services.auth.away import Departure, UpstreamFailed
from services.auth.handle import Handle
from services.auth.pages import flow as flows
from services.auth.pages import render
from services.auth.pages.account import LoginFirst, changing, fresh
from services.auth.pages.browser import in_session
from services.auth.pages.enrol import gone, prepared, whose
from services.auth.pages.fields import Field
from services.auth.pages.flow import Flow, FlowLost
from services.auth.pages.steps import proceed
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.auth.upstreams import Upstream
from services.shared.errors import Conflict

router = APIRouter(tags=["pages"], include_in_schema=False)
FEDERATED = "fed"  # somebody else has looked: what they asked for counts as one factor here
_UNKNOWN = "Nothing here has this name. Ask whoever runs your system what to type."


@router.get("/sso")
def ask(request: Request, parts: WithParts, flow: str = "") -> Response:
    begun = flows.unpack(parts, request, flow) if flow else Flow.begin()
    return render.page(parts, request, "sso.html", flow=begun, failed=None)


@router.post("/sso")
def leave(request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", slug: Field = "") -> Response:
    begun = flows.unpack(parts, request, flow)
    slug = slug.strip().lower()[:63]
    with parts.database.tenant_reading(seen.nobody()) as reading:
        found = people.login_candidates(reading, "sso", slug) if "\x00" not in slug else []
    if not found:
        return render.page(parts, request, "sso.html", status=422, flow=begun, failed=_UNKNOWN)
    tenant_id, id = found[0]
    with parts.database.tenant_reading(seen.product(tenant_id)) as reading:
        upstream = upstreams.find(reading, id)
    if upstream is None:
        return render.page(parts, request, "sso.html", status=422, flow=begun, failed=_UNKNOWN)
    return _depart(parts, request, begun, upstream)


@router.post("/account/upstreams/{id}/connect")
def connect(id: UUID, request: Request, parts: WithParts, seen: WithSeen, csrf: Field = "") -> Response:
    """Whose login it is at the provider, the provider will say; whose user here, the session."""
    with changing(request, parts, seen, csrf) as (transaction, session):
        fresh(transaction, session)
        upstream = upstreams.find(transaction, id)
    if upstream is None:
        return RedirectResponse("/account", 303)
    return _depart(parts, request, Flow.begin().renewing(session), upstream)


@router.post("/account/upstreams/{id}/disconnect")
def disconnect(id: UUID, request: Request, parts: WithParts, seen: WithSeen, csrf: Field = "") -> Response:
    with changing(request, parts, seen, csrf) as (transaction, session):
        fresh(transaction, session)
        for link in upstreams.links_of(transaction, session.user_id):
            if link.upstream_id == id:
                upstreams.unlink(transaction, link)
    return RedirectResponse("/account", 303)


@router.post("/enrol/sso")
def enrol(request: Request, parts: WithParts, seen: WithSeen, token: Field = "", id: Field = "") -> Response:
    """Instead of a password: the link shows who they are here, the provider who they are there."""
    link = Handle.parse(token)
    if link is None:
        return gone(parts, request)
    with parts.database.tenant_reading(seen.product(link.tenant_id)) as reading:
        person = whose(reading, link, for_update=False)
        upstream = next((each for each in upstreams.of_tenant(reading) if str(each.id) == id), None)
    if person is None or upstream is None:
        return gone(parts, request)
    return _depart(parts, request, replace(Flow.begin(), enrolment=token), upstream)


@router.get("/sso/callback")
def back(request: Request, parts: WithParts, seen: WithSeen, state: str = "", code: str = "") -> Response:
    """The provider sends the browser back. ``state`` is the flow, bound to the browser that left."""
    begun = flows.unpack(parts, request, state)
    if begun.upstream is None:
        raise FlowLost
    tenant_id, id = UUID(begun.upstream["tenant_id"]), UUID(begun.upstream["id"])
    with parts.database.tenant_reading(seen.product(tenant_id)) as reading:
        upstream = upstreams.find(reading, id)
        secret = upstreams.secret_of(reading, parts.vault, upstream) if upstream is not None else ""
    if upstream is None:
        raise FlowLost
    if not code:
        return _failed(parts, request, upstream, "it refused the login")
    departure = Departure(begun.upstream["nonce"], begun.upstream["verifier"])
    named = request.query_params.get("iss")
    try:
        subject = parts.away.subject(upstream.issuer, upstream.client_id, secret, departure, code, named)
    except UpstreamFailed as error:
        return _failed(parts, request, upstream, str(error))
    flow = replace(begun, upstream=None, upstream_id=str(upstream.id))
    if begun.enrolment is not None:
        return _enrol(parts, request, seen, flow, upstream, subject)
    if begun.session_id is not None:
        return _connect(parts, request, seen, begun.session_id, upstream, subject)
    with parts.database.tenant_reading(seen.product(tenant_id)) as reading:
        link = upstreams.linked(reading, upstream, subject)
    if link is None:
        return render.page(
            parts,
            request,
            "message.html",
            status=422,
            title="This login isn't connected yet",
            text=f"{upstream.name} has let you in, but nobody here has connected that login. Log in with your password "
            "and connect it on your account's page; from then on this way works.",
            detail=None,
        )
    return proceed(parts, request, seen, flow.of(tenant_id, link.user_id, FEDERATED))


def _connect(parts: Parts, request: Request, seen: Seen, session_id: str, upstream: Upstream, subject: str) -> Response:
    with in_session(parts, request, seen) as (transaction, session):
        if session is None or str(session.id) != session_id or session.tenant_id != upstream.tenant_id:
            raise LoginFirst
        fresh(transaction, session)
        try:
            upstreams.link(transaction, upstream, subject, session.user_id)
        except Conflict as taken:
            return _failed(parts, request, upstream, taken.what)
    return RedirectResponse("/account", 303)


def _enrol(parts: Parts, request: Request, seen: Seen, flow: Flow, upstream: Upstream, subject: str) -> Response:
    link = Handle.parse(flow.enrolment)
    assert link is not None
    with parts.database.tenant_reading(seen.product(link.tenant_id)) as reading:
        person = whose(reading, link, for_update=False)
    if person is None or person.tenant_id != upstream.tenant_id:
        return gone(parts, request)
    context = seen.person(person.tenant_id, person.user_id, flow.correlation_id)
    try:
        with parts.database.tenant_transaction(context) as transaction:
            if whose(transaction, link) is None:  # used in between
                return gone(parts, request)
            credentials.use_enrolment(transaction, link)
            accounts.open_for(transaction, person.user_id)
            upstreams.link(transaction, upstream, subject, person.user_id)
    except Conflict as taken:
        return _failed(parts, request, upstream, taken.what)
    if not person.may_log_in:
        return prepared(parts, request)
    return proceed(parts, request, seen, flow.of(person.tenant_id, person.user_id, FEDERATED))


def _depart(parts: Parts, request: Request, flow: Flow, upstream: Upstream) -> Response:
    departure = Departure.new()
    told = {"tenant_id": str(upstream.tenant_id), "id": str(upstream.id), **asdict(departure)}
    state = flows.pack(parts, request, replace(flow, upstream=told))
    try:
        address = parts.away.address(upstream.issuer, upstream.client_id, departure, state)
    except UpstreamFailed as error:
        return _failed(parts, request, upstream, str(error))
    return render.page(parts, request, "away.html", name=upstream.name, address=address, refresh=address)


def _failed(parts: Parts, request: Request, upstream: Upstream, what: str) -> Response:
    return render.page(
        parts,
        request,
        "message.html",
        status=422,
        title="That login didn't work",
        text=f"{upstream.name} was asked who you are, and its answer can't be used. Try again, or log in with your "
        "password.",
        detail=what,
    )
