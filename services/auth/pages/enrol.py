"""/enrol: somebody opens the link that an operator has brought them, and chooses a password.

Or they connect their login at the tenant's own identity provider instead: see pages.sso.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.auth import credentials, factors, passwords, people, upstreams
from services.auth.handle import Handle
from services.auth.pages import render, set_up
from services.auth.pages.fields import Field
from services.auth.pages.flow import Flow
from services.auth.pages.steps import proceed
from services.auth.parts import Parts, WithParts, WithSeen
from services.auth.people import Person
from services.auth.upstreams import Upstream
from services.shared.transaction import TenantTransaction

router = APIRouter(tags=["pages"], include_in_schema=False)


@router.get("/enrol")
def show(request: Request, parts: WithParts, seen: WithSeen, token: str = "") -> Response:
    handle = Handle.parse(token)
    if handle is None:
        return gone(parts, request)
    with parts.database.tenant_transaction(seen.product(handle.tenant_id)) as transaction:
        person = whose(transaction, handle)
        address = people.address_of(transaction, person.user_id) if person else ""
        known = upstreams.of_tenant(transaction) if person else []
    if person is None:
        return gone(parts, request)
    return _form(parts, request, token, person, address, known)


@router.post("/enrol")
def choose(
    request: Request, parts: WithParts, seen: WithSeen, token: Field = "", password: Field = "", again: Field = ""
) -> Response:
    handle = Handle.parse(token)
    if handle is None:
        return gone(parts, request)
    with parts.database.tenant_reading(seen.product(handle.tenant_id)) as reading:
        person = whose(reading, handle, for_update=False)
        address = people.address_of(reading, person.user_id) if person else ""
        known = upstreams.of_tenant(reading) if person else []
        has_factor = person is not None and bool(factors.standing(factors.of_user(reading, person.user_id)))
    if person is None:
        return gone(parts, request)
    if password != again:
        return _form(parts, request, token, person, address, known, "The two passwords differ.")
    try:
        stands_alone = passwords.accept(password, about=(person.name, address))
    except passwords.PasswordRefused as refused:
        return _form(parts, request, token, person, address, known, str(refused))
    hash = passwords.hashed(password)
    flow = Flow.begin().of(person.tenant_id, person.user_id, "pwd")
    if not stands_alone and not has_factor:
        # Kept only together with the factor: no short password is ever there without one.
        return set_up.page(parts, request, seen, replace(flow, password={"hash": hash, "link": token}))
    with parts.database.tenant_transaction(
        seen.person(person.tenant_id, person.user_id, flow.correlation_id)
    ) as transaction:
        if whose(transaction, handle) is None:  # used in between
            return gone(parts, request)
        credentials.use_enrolment(transaction, handle)
        credentials.choose_password(transaction, person.user_id, hash, stands_alone=stands_alone)
    return proceed(parts, request, seen, flow) if person.may_log_in else prepared(parts, request)


def whose(transaction: TenantTransaction, handle: Handle, *, for_update: bool = True) -> Person | None:
    """The person whom the link lets in, while it does."""
    enrolment = credentials.enrolment(transaction, handle, for_update=for_update)
    if enrolment is None or not enrolment.open:
        return None
    person = people.find(transaction, enrolment.user_id)
    return person if person is not None and person.may_enrol else None


def _form(
    parts: Parts,
    request: Request,
    token: str,
    person: Person,
    address: str,
    known: Sequence[Upstream],
    failed: str | None = None,
) -> Response:
    return render.page(
        parts,
        request,
        "enrol.html",
        status=422 if failed else 200,
        token=token,
        name=person.name,
        address=address,
        upstreams=known,
        failed=failed,
        alone=passwords.ALONE,
        with_factor=passwords.WITH_FACTOR,
    )


def prepared(parts: Parts, request: Request) -> Response:
    """For somebody who is invited, and not active yet."""
    return render.page(
        parts,
        request,
        "message.html",
        title="You are prepared",
        text="From the day on which your account is activated you can log in with this.",
        detail=None,
    )


def gone(parts: Parts, request: Request) -> Response:
    return render.page(
        parts,
        request,
        "message.html",
        status=422,
        title="This link doesn't work any more",
        text="It was used, it is older than three days, or there is a newer one. Ask for a new link.",
        detail=None,
    )
