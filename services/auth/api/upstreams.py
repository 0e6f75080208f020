"""/v1/upstreams: a tenant's own identity provider."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from services.auth import away, upstreams
from services.auth.events import UPSTREAM
from services.auth.parts import WithParts
from services.shared.errors import InvalidRequest
from services.web import reads
from services.web.call import Commanding, Done, Reading
from services.web.fields import Command, printable

router = APIRouter(prefix="/upstreams", tags=["upstreams"])
_Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
_Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(printable)
]


class ConnectUpstream(Command):
    """From now on the tenant's users may connect their login there with their user here, each by themselves."""

    slug: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{2,62}$"),
        Field(description="what users type to be sent there; taken at most once in the whole system"),
    ]
    name: _Name
    issuer: Annotated[str, Field(max_length=400, description="as the provider writes it, to the character")]
    client_id: _Line
    client_secret: Annotated[SecretStr, Field(min_length=8, max_length=500)]


class EndUpstream(Command):
    """Nobody logs in through it any more; users' connections end, its secret is deleted."""


@router.post("", summary="Connect a tenant's identity provider", status_code=201)
def connect(body: ConnectUpstream, call: Commanding, parts: WithParts) -> Response:
    """At the provider, register ``<our issuer>/sso/callback`` as redirect address, and ``client_secret_basic``."""
    if not away.safe_address(body.issuer, https_only=parts.settings.https):
        raise InvalidRequest("body.issuer: must be an https address", fix="as in its openid-configuration")
    return call.run(
        body,
        lambda transaction: Done.of(
            upstreams.connect(
                transaction,
                parts.vault,
                slug=body.slug,
                name=body.name,
                issuer=body.issuer,
                client_id=body.client_id,
                secret=body.client_secret.get_secret_value(),
            ),
            created=True,
        ),
    )


@router.post("/{id}/end", summary="End a tenant's identity provider")
def end(id: UUID, body: EndUpstream, call: Commanding) -> Response:
    return call.run(body, lambda transaction: Done.of(upstreams.end(transaction, id)))


@router.get("/{id}", summary="Read a tenant's identity provider")
def read(id: UUID, caller: Reading) -> Response:
    return reads.one(caller, UPSTREAM, id)
