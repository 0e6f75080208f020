"""/login: an address and a password; then a second factor, where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.auth import login, people
from services.auth.pages import flow as flows
from services.auth.pages import render
from services.auth.pages.fields import Field
from services.auth.pages.flow import Flow, FlowLost
from services.auth.pages.steps import proceed
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.auth.people import Person

router = APIRouter(tags=["pages"], include_in_schema=False)
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
    if len(found) > 1:
        return _choose(parts, request, seen, begun, found)
    return proceed(parts, request, seen, begun.of(found[0].tenant_id, found[0].user_id, "pwd"))


def _choose(parts: Parts, request: Request, seen: Seen, flow: Flow, found: Sequence[Person]) -> Response:
    """The password was right in each of these tenants, and only these are named."""
    names = []
    for person in found:
        with parts.database.tenant_reading(seen.person(person.tenant_id, person.user_id)) as reading:
            names.append(people.tenant_name(reading))
    choices = tuple((str(person.tenant_id), str(person.user_id)) for person in found)
    return render.page(parts, request, "choose.html", flow=replace(flow, choices=choices), names=names)


@router.post("/login/choose")
def choose(request: Request, parts: WithParts, seen: WithSeen, flow: Field = "", choice: Field = "") -> Response:
    begun = flows.unpack(parts, request, flow)
    if not choice.isascii() or not choice.isdecimal() or len(choice) > 2 or int(choice) >= len(begun.choices):
        raise FlowLost
    tenant_id, user_id = begun.choices[int(choice)]
    return proceed(parts, request, seen, begun.of(UUID(tenant_id), UUID(user_id), "pwd"))


@router.get("/second")
def go_on(request: Request, parts: WithParts, seen: WithSeen, flow: str = "") -> Response:
    """Somebody who is logged in, and is asked for more than the password that they have shown."""
    return proceed(parts, request, seen, flows.unpack(parts, request, flow))
