"""/logout: a product sends its user here to log out; or the user comes by themselves, and is asked."""

from __future__ import annotations

import hmac
from typing import Annotated

from authlib.oauth2 import OAuth2Error
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import ImmutableMultiDict

from services.auth import sessions
from services.auth.pages import render
from services.auth.pages.authorize import asked_by_query
from services.auth.pages.browser import csrf, forget, in_session
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.auth.protocol.endpoints import WithForm
from services.auth.protocol.logout import Logout, Wish
from services.auth.protocol.provider import Provider
from services.auth.protocol.wire import Parameters, WireRequest, unspeakable

router = APIRouter(tags=["pages"])


@router.get("/logout", summary="Log out of this browser")
def logout(
    asked: Annotated[Parameters, Depends(asked_by_query)], request: Request, parts: WithParts, seen: WithSeen
) -> Response:
    """At once with a genuine ``id_token_hint`` of the browser's session; else the person is asked."""
    if unspeakable(asked, longest=4096) is not None:
        # As if nothing had been asked: the person decides, and not whoever wrote that link.
        asked = ImmutableMultiDict()
    with in_session(parts, request, seen) as (transaction, session):
        endpoint = Logout(Provider(parts.settings, parts.keys, transaction))
        try:
            wish = endpoint.wish(WireRequest("GET", asked))
        except OAuth2Error:
            wish = Wish(None, None, None)
        confirmed = session is not None and hmac.compare_digest(asked.get("csrf", ""), csrf(parts, session))
        if session is not None and (confirmed or wish.session_id == session.id):
            sessions.end(transaction, session.id, "logout")
        elif session is not None:
            kept = {name: value for name, value in asked.items() if name != "csrf"}
            return render.page(
                parts,
                request,
                "logout.html",
                csrf=csrf(parts, session),
                kept=kept,
                goes_to=wish.redirect_uri,
            )
    if wish.session_id is not None and wish.tenant_id is not None and session is None:
        _end_elsewhere(parts, seen, wish)
    return _over(parts, request, wish.redirect_uri)


@router.post("/logout", include_in_schema=False)
def logout_by_form(form: WithForm, request: Request, parts: WithParts, seen: WithSeen) -> Response:
    return logout(form, request, parts, seen)


def _end_elsewhere(parts: Parts, seen: Seen, wish: Wish) -> None:
    """The product shows the id token of a session whose cookie didn't come along."""
    assert wish.tenant_id is not None and wish.session_id is not None
    with parts.database.tenant_transaction(seen.product(wish.tenant_id)) as transaction:
        sessions.end(transaction, wish.session_id, "logout")


def _over(parts: Parts, request: Request, redirect_uri: str | None) -> Response:
    if redirect_uri is not None:
        response: Response = RedirectResponse(redirect_uri, 303)
    else:
        response = render.page(
            parts,
            request,
            "message.html",
            title="You are logged out",
            text="Products that you still have open notice it within ten minutes.",
            detail=None,
        )
    forget(parts, response)
    return response
