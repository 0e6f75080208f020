"""/account/password: another password, for somebody who has just shown who they are."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.auth import credentials, factors, passwords, people
from services.auth.pages import render
from services.auth.pages.account import changing, fresh
from services.auth.pages.browser import csrf as csrf_of
from services.auth.pages.browser import in_session
from services.auth.pages.fields import Field
from services.auth.parts import Parts, WithParts, WithSeen
from services.auth.sessions import Session

router = APIRouter(tags=["pages"], include_in_schema=False)


@router.get("/account/password")
def show(request: Request, parts: WithParts, seen: WithSeen) -> Response:
    with in_session(parts, request, seen) as (transaction, session):
        session = fresh(transaction, session)
        address = people.address_of(transaction, session.user_id)
    return _form(parts, request, session, address)


@router.post("/account/password")
def change(
    request: Request, parts: WithParts, seen: WithSeen, csrf: Field = "", password: Field = "", again: Field = ""
) -> Response:
    """Every other session ends: whoever knew the old one may have them."""
    with changing(request, parts, seen, csrf) as (transaction, session):
        fresh(transaction, session)
        person = people.find(transaction, session.user_id)
        address = people.address_of(transaction, session.user_id)
        has_factor = bool(factors.standing(factors.of_user(transaction, session.user_id)))
    if password != again:
        return _form(parts, request, session, address, "The two passwords differ.")
    try:
        stands_alone = passwords.accept(password, about=(person.name if person else "", address))
    except passwords.PasswordRefused as refused:
        return _form(parts, request, session, address, str(refused))
    if not stands_alone and not has_factor:
        told = f"Use at least {passwords.ALONE} characters, or add a second factor first."
        return _form(parts, request, session, address, told)
    hash = passwords.hashed(password)  # outside of any transaction: it is slow on purpose
    with changing(request, parts, seen, csrf) as (transaction, session):
        fresh(transaction, session)
        if not stands_alone and not factors.standing(factors.of_user(transaction, session.user_id)):
            return RedirectResponse("/account/password", 303)  # removed in between
        credentials.choose_password(transaction, session.user_id, hash, stands_alone=stands_alone, but=session.id)
    return RedirectResponse("/account", 303)


def _form(parts: Parts, request: Request, session: Session, address: str, failed: str | None = None) -> Response:
    return render.page(
        parts,
        request,
        "password.html",
        status=422 if failed else 200,
        csrf=csrf_of(parts, session),
        address=address,
        failed=failed,
        alone=passwords.ALONE,
        with_factor=passwords.WITH_FACTOR,
    )
