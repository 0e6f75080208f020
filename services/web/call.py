"""One call of the API: who makes it, under which key, and what it answers.

Who calls, in this release: whoever holds the shared token ``<SERVICE>_TOKEN`` is trusted to name the tenant and the
actor in headers. That keeps the port from being open; it does not prove who the actor is. Treat the token as a
service's credential and keep the service on the loopback interface, until tokens of the auth service, which can't be
forged by a caller, take the place of these headers.

    Authorization: Bearer <token>     required
    X-Tenant: <uuid>                  required, except when a tenant is created
    X-Actor: <id>                     required for commands, e.g. operator:sato
    X-Actor-Type: user|operator|system   default operator
    X-On-Behalf-Of, X-Request-Id, X-Correlation-Id, X-Causation-Id   optional
    Idempotency-Key: <8 … 200 characters>   required for commands
    If-Match: "<version>"             required where a command changes what exists
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from psycopg import sql
from psycopg.types.json import Jsonb

from services.shared.context import ActorType, Context
from services.shared.errors import InvalidRequest, KeyReused, VersionRequired
from services.shared.event import Recorded
from services.shared.transaction import Database, TenantTransaction
from services.web.fields import Command

_TENANTS = UUID("5a0c1e02-6f0e-5b53-9a43-0f6b3f0d7c11")  # namespace of ids made from keys, where no tenant exists yet
_ETAG = re.compile(r'\A(?:W/)?"([0-9]{1,18})"\Z')

_NAME = r"^[A-Za-z0-9._:@/+-]{1,200}$"

OptionalName = Annotated[str | None, Header(pattern=_NAME)]


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did: the state it leaves, and its events, the main one first."""

    state: dict[str, Any]
    events: tuple[Recorded, ...]
    created: bool = False

    @classmethod
    def of(cls, *events: Recorded, created: bool = False) -> Done:
        return cls(events[0].after, events, created)


@dataclass(frozen=True, slots=True)
class Caller:
    database: Database
    context: Context


@dataclass(frozen=True, slots=True)
class Call:
    """A command's caller. ``new_id`` is made from tenant and key: a retry creates the same thing, not a second one."""

    caller: Caller
    request: Request
    key: str
    if_match: str | None

    @property
    def new_id(self) -> UUID:
        return uuid5(self.caller.context.tenant_id, self.key)

    @property
    def expected_version(self) -> int:
        """Raises VersionRequired without If-Match, InvalidRequest for anything but a quoted version."""
        if self.if_match is None:
            raise VersionRequired("the command changes something that exists, and doesn't say which version it saw")
        match = _ETAG.match(self.if_match)
        if match is None:
            raise InvalidRequest(f"If-Match is {self.if_match!r}", fix='send the ETag you got, e.g. If-Match: "3"')
        return int(match[1])

    def run(self, body: Command, command: Callable[[TenantTransaction], Done]) -> Response:
        """State, events, who and why, and the answer itself, in one transaction; or the answer given before."""
        context = replace(self.caller.context, reason=body.reason, effective_at=body.effective_at)
        digest = _digest(self.request, body)
        with self.caller.database.tenant_transaction(context) as transaction:
            status, answer, replayed = _once(transaction, self.request.app.state.schema, self.key, digest, command)
        headers = {
            "ETag": f'"{answer["state"]["version"]}"',
            "X-Request-Id": context.request_id,
        }
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        if transaction.committed_by is not None:
            # The database's clock just after the commit: as of this source time, the command is visible.
            headers["X-Source-Time"] = transaction.committed_by.isoformat()
        return JSONResponse(answer, status, headers)


def _once(
    transaction: TenantTransaction, schema: str, key: str, digest: str, command: Callable[[TenantTransaction], Done]
) -> tuple[int, dict[str, Any], bool]:
    """The status, the answer, and whether it is an earlier one. Raises KeyReused."""
    # Two requests with one key at once: the second waits here and then finds the first one's answer.
    transaction.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{schema}/{transaction.tenant_id}/{key}",)
    )
    keys = sql.Identifier(schema, "idempotency_keys")
    earlier = transaction.row(
        sql.SQL("SELECT request_digest, status, answer FROM {} WHERE tenant_id = %s AND key = %s").format(keys),
        (transaction.tenant_id, key),
    )
    if earlier is not None:
        if earlier["request_digest"] != digest:
            raise KeyReused("this Idempotency-Key belongs to another request")
        return earlier["status"], earlier["answer"], True
    done = command(transaction)
    status = 201 if done.created else 200
    row = transaction.row(
        sql.SQL(
            "INSERT INTO {} (tenant_id, key, request_digest, status, answer) VALUES (%s, %s, %s, %s, %s) "
            "RETURNING answer"
        ).format(keys),
        (transaction.tenant_id, key, digest, status, Jsonb(_answer(done))),
    )
    assert row is not None
    # As stored, so that the first answer and its repetition are the same to the byte.
    return status, row["answer"], False


def _answer(done: Done) -> dict[str, Any]:
    return {
        "state": done.state,
        "events": [
            {
                "event_id": str(event.event_id),
                "event_type": event.event_type,
                "aggregate_id": str(event.aggregate_id),
                "aggregate_version": event.aggregate_version,
                "recorded_at": event.recorded_at.isoformat(),
            }
            for event in done.events
        ],
    }


def _digest(request: Request, body: Command) -> str:
    told = f"{request.method} {request.url.path}\n{body.model_dump_json()}"
    return hashlib.sha256(told.encode()).hexdigest()


def reading(request: Request, x_tenant: Annotated[UUID, Header()], x_request_id: OptionalName = None) -> Caller:
    """A caller who only reads."""
    request_id = x_request_id or str(uuid4())
    return Caller(request.app.state.database, Context(x_tenant, "operator", "reader", request_id, uuid4()))


def signature(
    request: Request,
    x_actor: Annotated[str, Header(pattern=_NAME)],
    idempotency_key: Annotated[str, Header(pattern=r"^[!-~]{8,200}$")],
    x_actor_type: Annotated[ActorType, Header()] = "operator",
    x_on_behalf_of: OptionalName = None,
    x_request_id: OptionalName = None,
    x_correlation_id: Annotated[UUID | None, Header()] = None,
    x_causation_id: Annotated[UUID | None, Header()] = None,
    if_match: Annotated[str | None, Header(max_length=40)] = None,
) -> Call:
    """Who sends a command, and under which key. The tenant is the one that this key would found."""
    context = Context(
        tenant_id=uuid5(_TENANTS, idempotency_key),
        actor_type=x_actor_type,
        actor_id=x_actor,
        request_id=x_request_id or str(uuid4()),
        correlation_id=x_correlation_id or uuid4(),
        causation_id=x_causation_id,
        on_behalf_of=x_on_behalf_of,
    )
    return Call(Caller(request.app.state.database, context), request, idempotency_key, if_match)


def commanding(x_tenant: Annotated[UUID, Header()], signed: Annotated[Call, Depends(signature)]) -> Call:
    """The same for a tenant that exists."""
    return replace(signed, caller=replace(signed.caller, context=replace(signed.caller.context, tenant_id=x_tenant)))


Reading = Annotated[Caller, Depends(reading)]
Commanding = Annotated[Call, Depends(commanding)]
Founding = Annotated[Call, Depends(signature)]
