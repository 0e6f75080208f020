"""/account: where a login ends that no product has asked for."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.auth import people
from services.auth.pages import render
from services.auth.pages.browser import in_session
from services.auth.parts import WithParts, WithSeen

router = APIRouter(tags=["pages"], include_in_schema=False)


@router.get("/account")
def show(request: Request, parts: WithParts, seen: WithSeen) -> Response:
    """Who is logged in here; to /login for nobody."""
    with in_session(parts, request, seen) as (transaction, session):
        person = people.find(transaction, session.user_id) if session is not None else None
    if person is None:
        return RedirectResponse("/login", 303)
    return render.page(parts, request, "account.html", name=person.name)
