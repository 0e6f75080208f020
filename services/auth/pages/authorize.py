"""/authorize: a product sends its user here. Who has a session that is good enough goes back at once."""

from __future__ import annotations

import time
from typing import Annotated

from authlib.oauth2 import OAuth2Error
from authlib.oidc.core.errors import LoginRequiredError
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import ImmutableMultiDict

from services.auth.clients import Client
from services.auth.pages import flow as flows
from services.auth.pages import render
from services.auth.pages.browser import in_session
from services.auth.pages.flow import Flow
from services.auth.parts import Parts, WithParts, WithSeen
from services.auth.protocol.endpoints import WithForm
from services.auth.protocol.provider import Provider
from services.auth.protocol.wire import Parameters, WireRequest, unspeakable
from services.auth.sessions import TWO_FACTORS, Session

router = APIRouter(tags=["pages"])
# Asked for in ways that we don't have; leaving them unread would be answering another question (OIDC Core, 6).
_UNSUPPORTED = ("request", "request_uri", "registration")


def asked_by_query(request: Request) -> Parameters:
    return ImmutableMultiDict(request.query_params.multi_items())


@router.get("/authorize", summary="Begin a login")
def authorize(
    asked: Annotated[Parameters, Depends(asked_by_query)], request: Request, parts: WithParts, seen: WithSeen
) -> Response:
    strange = unspeakable(asked)
    if strange is not None:
        return _error_page(parts, request, f"The parameter {strange} is malformed.")
    wire = WireRequest("GET", asked)
    with in_session(parts, request, seen) as (transaction, session):
        provider = Provider(parts.settings, parts.keys, transaction)
        try:
            grant = provider.check_authorization(wire, session)
            client: Client = wire.client
            _refuse_unsupported(wire, grant.redirect_uri)
            two = needs_two(wire, client)
            usable = session if session is not None and _recent_enough(wire, session) else None
            if grant.prompt not in (None, "consent"):
                usable = None
            if usable is not None and not (two and usable.acr != TWO_FACTORS):
                return provider.authorize(wire, usable).response()
            if wire.payload.data.get("prompt") == "none":
                raise LoginRequiredError(redirect_uri=grant.redirect_uri)
        except OAuth2Error as error:
            if not error.redirect_uri:
                return _error_page(parts, request, error.get_error_description() or error.error)
            return provider.refuse_authorization(wire, error).response()
    flow = Flow.begin(authorize=dict(wire.payload.data), wants_two=two)
    step = "/login"
    if usable is not None:  # what was shown so far counts; a second factor is missing
        step, flow = "/second", flow.renewing(usable)
    response = RedirectResponse(f"{step}?flow={flows.pack(parts, request, flow)}", 303)
    flows.mark_browser(parts, request, response)
    return response


@router.post("/authorize", include_in_schema=False)
def authorize_by_form(form: WithForm, request: Request, parts: WithParts, seen: WithSeen) -> Response:
    """The same (OIDC Core, 3.1.2.1)."""
    return authorize(form, request, parts, seen)


def needs_two(wire: WireRequest, client: Client) -> bool:
    """Whether the product insists on two factors, always or this time."""
    wanted = wire.payload.data.get("acr_values", "").split()
    return client.requires_second_factor or TWO_FACTORS in wanted


def _recent_enough(wire: WireRequest, session: Session) -> bool:
    max_age = wire.payload.data.get("max_age", "")
    return not max_age.isdecimal() or time.time() - session.authenticated_at.timestamp() <= int(max_age)


def _refuse_unsupported(wire: WireRequest, redirect_uri: str) -> None:
    for name in _UNSUPPORTED:
        if name in wire.payload.data:
            raise OAuth2Error(error=f"{name}_not_supported", redirect_uri=redirect_uri)
    if wire.payload.data.get("response_mode", "query") != "query":
        raise OAuth2Error(error="invalid_request", redirect_uri=redirect_uri)
    twice = next((name for name, values in wire.payload.datalist.items() if len(values) > 1), None)
    if twice is not None:
        raise OAuth2Error(error="invalid_request", redirect_uri=redirect_uri)


def _error_page(parts: Parts, request: Request, what: str) -> Response:
    return render.page(
        parts,
        request,
        "message.html",
        status=400,
        title="This login can't begin",
        text="The product that sent you here asked for something that isn't right. Tell its makers what it says below.",
        detail=what,
    )
