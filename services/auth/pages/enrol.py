"""/enrol: somebody opens the link that an operator has brought them, and chooses a password."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.auth import accounts, credentials, passwords, people, sessions
from services.auth.handle import Handle
from services.auth.pages import render
from services.auth.pages.flow import Flow
from services.auth.pages.login import Field, proceed
from services.auth.parts import Parts, WithParts, WithSeen
from services.auth.people import Person
from services.shared.transaction import TenantTransaction

router = APIRouter(tags=["pages"], include_in_schema=False)


@router.get("/enrol")
def show(request: Request, parts: WithParts, seen: WithSeen, token: str = "") -> Response:
    handle = Handle.parse(token)
    if handle is None:
        return _gone(parts, request)
    with parts.database.tenant_transaction(seen.product(handle.tenant_id)) as transaction:
        person = _whose(transaction, handle)
        address = people.address_of(transaction, person.user_id) if person else ""
    if person is None:
        return _gone(parts, request)
    return _form(parts, request, token, person, address)


@router.post("/enrol")
def choose(
    request: Request, parts: WithParts, seen: WithSeen, token: Field = "", password: Field = "", again: Field = ""
) -> Response:
    handle = Handle.parse(token)
    if handle is None:
        return _gone(parts, request)
    with parts.database.tenant_reading(seen.product(handle.tenant_id)) as reading:
        person = _whose(reading, handle, for_update=False)
        address = people.address_of(reading, person.user_id) if person else ""
    if person is None:
        return _gone(parts, request)
    if password != again:
        return _form(parts, request, token, person, address, "The two passwords differ.")
    try:
        stands_alone = passwords.accept(password, about=(person.name, address))
    except passwords.PasswordRefused as refused:
        return _form(parts, request, token, person, address, str(refused))
    if not stands_alone:
        return _form(parts, request, token, person, address, f"Use at least {passwords.ALONE} characters.")
    hash = passwords.hashed(password)
    flow = Flow.begin().of(person.tenant_id, person.user_id, "pwd")
    with parts.database.tenant_transaction(
        seen.person(person.tenant_id, person.user_id, flow.correlation_id)
    ) as transaction:
        if _whose(transaction, handle) is None:  # used in between
            return _gone(parts, request)
        credentials.use_enrolment(transaction, handle)
        keep_password(transaction, person, hash, stands_alone=stands_alone)
    return proceed(parts, request, seen, flow)


def keep_password(transaction: TenantTransaction, person: Person, hash: str, *, stands_alone: bool) -> None:
    """Who knew the old one is out everywhere."""
    account = accounts.open_for(transaction, person.user_id)
    credentials.keep_password(transaction, person.user_id, hash)
    accounts.has_new_password(transaction, account, needs_second_factor=not stands_alone)
    sessions.end_all(transaction, person.user_id, "password_changed")


def _whose(transaction: TenantTransaction, handle: Handle, *, for_update: bool = True) -> Person | None:
    """The person whom the link lets in, while it does."""
    enrolment = credentials.enrolment(transaction, handle, for_update=for_update)
    if enrolment is None or not enrolment.open:
        return None
    person = people.find(transaction, enrolment.user_id)
    return person if person is not None and person.may_enrol else None


def _form(
    parts: Parts, request: Request, token: str, person: Person, address: str, failed: str | None = None
) -> Response:
    return render.page(
        parts,
        request,
        "enrol.html",
        status=422 if failed else 200,
        token=token,
        name=person.name,
        address=address,
        failed=failed,
        alone=passwords.ALONE,
    )


def _gone(parts: Parts, request: Request) -> Response:
    return render.page(
        parts,
        request,
        "message.html",
        status=422,
        title="This link doesn't work any more",
        text="It was used, it is older than three days, or there is a newer one. Ask for a new link.",
        detail=None,
    )
