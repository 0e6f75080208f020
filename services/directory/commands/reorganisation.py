"""Merge tenants, split one, hand a pharmacy to another: all three schemas in one transaction.

The tenant that the caller acts for gives, another takes. Each schema has one function that sees both
(``<schema>.reorganise``, migrations/0016); nothing else of the service ever does. Each moved aggregate has its own
event, in its new tenant, all under the command's correlation id; the answer tells the main one.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from psycopg import errors as pg
from psycopg.types.json import Jsonb
from pydantic import Field

from services.directory.events import PHARMACY, TENANT
from services.directory.fields import CorporateNumber
from services.shared.errors import Conflict, NotFound
from services.shared.event import Recorded
from services.shared.state import lock
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Name

# Directory first: the others follow what has moved there.
_STATEMENTS = ("SELECT asset.reorganise(%s)", "SELECT auth.reorganise(%s)")


class MergeTenant(Command):
    into: UUID


class SplitTenant(Command):
    """``organisations`` go to a new tenant with all that hangs on them."""

    name: Name
    kana: Name
    corporate_number: CorporateNumber | None = None
    organisations: Annotated[list[UUID], Field(min_length=1, max_length=100)]


class HandOverPharmacy(Command):
    """``organisation_id``: the other tenant's, which runs it from now on."""

    tenant_id: UUID
    organisation_id: UUID


def merge(transaction: TenantTransaction, expected_version: int, body: MergeTenant) -> Done:
    """Everything of the tenant becomes another's. Raises NotFound, VersionConflict, Conflict."""
    lock(transaction, TENANT, transaction.tenant_id, expected_version)
    return Done.of(_reorganise(transaction, "merge", body.into))


def split(transaction: TenantTransaction, new_id: UUID, expected_version: int, body: SplitTenant) -> Done:
    """The answer's state is the new tenant. Raises NotFound, VersionConflict, Conflict."""
    lock(transaction, TENANT, transaction.tenant_id, expected_version)
    told = body.model_dump(mode="json", include={"name", "kana", "corporate_number", "organisations"})
    return Done.of(_reorganise(transaction, "split", new_id, **told), created=True)


def hand_over(transaction: TenantTransaction, id: UUID, expected_version: int, body: HandOverPharmacy) -> Done:
    """With whoever works there and nowhere else. Raises NotFound, VersionConflict, Conflict."""
    lock(transaction, PHARMACY, id, expected_version)
    return Done.of(
        _reorganise(transaction, "transfer", body.tenant_id, pharmacy=str(id), into=str(body.organisation_id))
    )


def _reorganise(
    transaction: TenantTransaction, kind: Literal["merge", "split", "transfer"], to: UUID, **what: Any
) -> Recorded:
    if to == transaction.tenant_id:
        raise Conflict("it is the same tenant", fix="name another one")
    who = {name: _plain(value) for name, value in asdict(transaction.context).items() if name != "tenant_id"}
    plan = Jsonb({**who, **what, "kind": kind, "to": str(to)})
    transaction.announce()
    # Ten thousand rows, each with its event, take longer than a command may.
    transaction.execute("SET LOCAL statement_timeout = '10min'")
    try:
        row = transaction.row("SELECT directory.reorganise(%s) AS event", (plan,))
        for statement in _STATEMENTS:
            transaction.execute(statement, (plan,))
    except pg.NoDataFound as error:
        raise NotFound(error.diag.message_primary or "") from error
    except pg.ObjectInUse as error:
        raise Conflict(
            f"users {error.diag.message_primary}", fix="end or transfer the memberships and roles on one side first"
        ) from error
    except pg.UniqueViolation as error:
        raise Conflict(
            f"both tenants have one of the same {error.diag.constraint_name}", fix="change it in one of them first"
        ) from error
    except pg.CheckViolation as error:
        raise Conflict(error.diag.message_primary or "", fix="raise its pharmacy_limit first") from error
    assert row is not None
    event = row["event"]
    return Recorded(
        UUID(event["event_id"]),
        event["event_type"],
        UUID(event["aggregate_id"]),
        event["aggregate_version"],
        datetime.fromisoformat(event["recorded_at"]),
        event["after"],
    )


def _plain(value: object) -> str | None:
    match value:
        case None:
            return None
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
