"""/login: an address and a password; then a second factor, where there is one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.auth import login, sessions
from services.auth.pages import flow as flows
from services.auth.pages import render
from services.auth.pages.browser import handle_of, remember
from services.auth.pages.flow import Flow, FlowLost
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.auth.protocol.provider import Provider
from services.auth.protocol.wire import WireRequest

router = APIRouter(tags=["pages"], include_in_schema=False)
Field = Annotated[str, Form(max_length=4096)]
FAILED = (
    "That didn't work. Check the address and the password. After five failures in a row you have to wait, a minute at "
    "first; whoever runs your system can also unlock you."
)


@router.get("/login")
def show(request: Request, parts: WithParts, flow: str | None = None) -> Response:
    begun = flows.unpack(parts, request, flow) if flow else Flow.begin()
    return render.page(parts, request, "login.html", flow=begun, failed=None, address="")


@router.post("/login")
def enter(
    request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", address: Field = "", password: Field = ""
) -> Response:
    begun = flows.unpack(parts, request, flow)
    found = login.with_password(parts, seen, begun.correlation_id, address, password)
    if not found:
        return render.page(parts, request, "login.html", status=422, flow=begun, failed=FAILED, address=address)
    return proceed(parts, request, seen, begun.of(found[0].tenant_id, found[0].user_id, "pwd"))


def proceed(parts: Parts, request: Request, seen: Seen, flow: Flow) -> Response:
    """The next step of somebody who has shown a password: a second factor, or the end."""
    return finish(parts, request, seen, flow)


def finish(parts: Parts, request: Request, seen: Seen, flow: Flow) -> Response:
    """Log in, and go where the login was for. Raises FlowLost for somebody who may not log in any more."""
    if flow.whose is None:
        raise FlowLost
    tenant_id, user_id = flow.whose
    with parts.database.tenant_transaction(seen.person(tenant_id, user_id, flow.correlation_id)) as transaction:
        earlier = handle_of(parts, request)
        replaced = (
            sessions.of_handle(transaction, earlier, parts.settings.session_idle)
            if earlier is not None and earlier.tenant_id == tenant_id
            else None
        )
        logged_in = login.finish(parts, seen, transaction, user_id, flow.amr, replaces=replaced)
        if logged_in is None:
            raise FlowLost
        if flow.authorize is None:
            response: Response = RedirectResponse(flow.page, 303)
        else:
            wire = WireRequest("GET", flow.asked)
            provider = Provider(parts.settings, parts.keys, transaction)
            response = provider.authorize(wire, logged_in.session).response()
    remember(parts, response, logged_in.handle)
    return response
