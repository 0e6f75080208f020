"""What products call: discovery, keys, token, userinfo, introspection, revocation."""

from __future__ import annotations

from typing import Annotated, Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import ImmutableMultiDict

from services.auth import clients, grants, people
from services.auth.handle import tenant_of
from services.auth.keys import ALGORITHM, PUBLISHED_MAX_AGE_S
from services.auth.parts import Parts, Seen, WithParts, WithSeen
from services.auth.protocol.provider import Provider
from services.auth.protocol.tokens import read_access_token, subject_of
from services.auth.protocol.wire import Parameters, WireRequest, unspeakable

router = APIRouter(tags=["OpenID Connect"])
_UNCACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_FORM = "application/x-www-form-urlencoded"


async def form_of(request: Request) -> Parameters:
    """The form's fields; none for a body that is no form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return ImmutableMultiDict()
    fields = await request.form(max_files=0, max_fields=50)
    return ImmutableMultiDict([(name, value) for name, value in fields.multi_items() if isinstance(value, str)])


WithForm = Annotated[Parameters, Depends(form_of)]


def _documented(*fields: str) -> dict[str, Any]:
    """For the API's description: FastAPI doesn't see a form that is read by hand."""
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in fields}}
    return {"requestBody": {"content": {_FORM: {"schema": schema}}}}


@router.get("/.well-known/openid-configuration", summary="Tell what the provider offers")
def discovery(parts: WithParts) -> Response:
    issuer = parts.settings.issuer
    return JSONResponse(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "jwks_uri": f"{issuer}/jwks",
            "introspection_endpoint": f"{issuer}/introspect",
            "revocation_endpoint": f"{issuer}/revoke",
            "end_session_endpoint": f"{issuer}/logout",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": list(clients.SCOPES),
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "claims_supported": [
                *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "tenant_id"),
                *("name", "tenant", "organisations", "pharmacies", "roles"),
            ],
            "prompt_values_supported": ["none", "login", "select_account", "consent"],
            "authorization_response_iss_parameter_supported": True,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "claims_parameter_supported": False,
        },
        headers={"Cache-Control": f"max-age={PUBLISHED_MAX_AGE_S}", "Access-Control-Allow-Origin": "*"},
    )


@router.get("/jwks", summary="Tell the signing keys")
def jwks(parts: WithParts) -> Response:
    """The keys that sign now, will sign next, or have signed what is still valid."""
    return JSONResponse(
        parts.keys.published(),
        headers={"Cache-Control": f"max-age={PUBLISHED_MAX_AGE_S}", "Access-Control-Allow-Origin": "*"},
    )


@router.post(
    "/token",
    summary="Exchange a code or a refresh token for tokens",
    openapi_extra=_documented(
        *("grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope", "client_id", "client_secret")
    ),
)
def token(request: Request, form: WithForm, parts: WithParts, seen: WithSeen) -> Response:
    """A code, or a refresh token, for tokens. Each works once; one that comes again revokes all that came of it."""
    refused = _refused(form)
    if refused is not None:
        return refused
    tenant_id = tenant_of(form.get("code") or form.get("refresh_token"))
    with parts.database.tenant_transaction(seen.product(tenant_id)) as transaction:
        provider = Provider(parts.settings, parts.keys, transaction)
        reply = provider.create_token_response(WireRequest("POST", form, request.headers))
    response: Response = reply.response()
    response.headers.update(_UNCACHED)
    return response


@router.get("/userinfo", summary="Tell who a token is about")
@router.post("/userinfo", summary="Tell who a token is about, asked by form", openapi_extra=_documented("access_token"))
def userinfo(request: Request, form: WithForm, parts: WithParts, seen: WithSeen) -> Response:
    """Who the token is about, and where they belong and what they may do as of now, from directory's tables."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    text = given if scheme.lower() == "bearer" else form.get("access_token", "")
    token = read_access_token(parts.settings, parts.keys, text) if text else None
    if token is None:
        return _unauthorized(bool(text))
    with parts.database.tenant_reading(seen.product(token.tenant_id)) as reading:
        grant = grants.find(reading, token.grant_id)
        subject = subject_of(reading, grant, parts.settings.session_idle) if grant else None
        if subject is None:
            return _unauthorized(True)
        scopes = token.scope.split()
        claims: dict[str, Any] = {"sub": str(subject.person.user_id), "tenant_id": str(token.tenant_id)}
        if "profile" in scopes:
            claims["name"] = subject.person.name
        if "affiliations" in scopes:
            claims |= people.affiliations(reading, subject.person.user_id)
    return JSONResponse(claims, headers=_UNCACHED)


@router.post(
    "/introspect",
    summary="Tell what a token is worth now",
    openapi_extra=_documented("token", "token_type_hint", "client_id", "client_secret"),
)
def introspect(request: Request, form: WithForm, parts: WithParts, seen: WithSeen) -> Response:
    """What a token is worth now: looks at the session and the person, where a signature only tells of the past."""
    return _endpoint("introspection", request, form, parts, seen)


@router.post(
    "/revoke",
    summary="Revoke a token and its family",
    openapi_extra=_documented("token", "token_type_hint", "client_id", "client_secret"),
)
def revoke(request: Request, form: WithForm, parts: WithParts, seen: WithSeen) -> Response:
    """The token, and all others of its family."""
    return _endpoint("revocation", request, form, parts, seen)


def _endpoint(name: str, request: Request, form: Parameters, parts: Parts, seen: Seen) -> Response:
    refused = _refused(form)
    if refused is not None:
        return refused
    text = form.get("token", "")
    access = read_access_token(parts.settings, parts.keys, text)
    tenant_id = access.tenant_id if access else tenant_of(text)
    with parts.database.tenant_transaction(seen.product(tenant_id)) as transaction:
        provider = Provider(parts.settings, parts.keys, transaction)
        reply = provider.create_endpoint_response(name, WireRequest("POST", form, request.headers))
    response: Response = reply.response()
    response.headers.update(_UNCACHED)
    return response


def _unauthorized(with_token: bool) -> Response:
    told = 'Bearer error="invalid_token"' if with_token else "Bearer"
    return JSONResponse({"error": "invalid_token"}, 401, {"WWW-Authenticate": told, **_UNCACHED})


def _refused(form: Parameters) -> Response | None:
    """What Authlib can't be shown, or doesn't look at: characters that the protocol doesn't have, a parameter twice."""
    strange = unspeakable(form)
    twice = next((name for name in form if len(form.getlist(name)) > 1), None)
    if strange is None and twice is None:
        return None
    what = f"'{strange}' is malformed" if strange is not None else f"Multiple '{twice}' in request."
    error = InvalidRequestError(what)
    return JSONResponse(dict(error.get_body()), error.status_code, _UNCACHED)
