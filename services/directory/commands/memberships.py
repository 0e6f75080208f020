"""Assign users to organisations and pharmacies, transfer them, end it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal
from uuid import UUID

from psycopg import sql
from psycopg.rows import DictRow
from pydantic import model_validator

from services.directory.commands.organisations import need_open
from services.directory.events import MEMBERSHIP, MEMBERSHIP_ASSIGNED, MEMBERSHIP_ENDED, ORGANISATION, PHARMACY, USER
from services.directory.fields import WeeklyHours
from services.shared.errors import Conflict, NotFound
from services.shared.event import Recorded, record
from services.shared.state import hold, lock
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Day


class Place(Command):
    """Where: an organisation or a pharmacy, exactly one of them."""

    organisation_id: UUID | None = None
    pharmacy_id: UUID | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Place:
        if (self.organisation_id is None) == (self.pharmacy_id is None):
            raise ValueError("name either organisation_id or pharmacy_id")
        return self


class AssignMembership(Place):
    is_primary: bool = True
    weekly_hours: WeeklyHours = Decimal(40)
    valid_from: Day | None = None


class TransferMembership(Place):
    weekly_hours: WeeklyHours | None = None
    valid_from: Day | None = None


class EndMembership(Command):
    valid_to: Day | None = None


def assign(transaction: TenantTransaction, id: UUID, user_id: UUID, body: AssignMembership) -> Done:
    """``valid_from`` defaults to today in Japan.

    Raises NotFound, Conflict for a retired user, a second membership in one place, or a second primary one.
    """
    user = hold(transaction, USER, user_id)
    if user["status"] == "retired":
        raise Conflict("the user has retired")
    return Done.of(
        _open(transaction, id, user_id, body, body.is_primary, body.weekly_hours, body.valid_from), created=True
    )


def transfer(
    transaction: TenantTransaction, id: UUID, expected_version: int, successor_id: UUID, body: TransferMembership
) -> Done:
    """Ends one membership and opens its successor elsewhere on the same day; the answer's state is the successor.

    Raises NotFound, VersionConflict, Conflict for an ended one, the same place, or a day before it began.
    """
    hold(transaction, USER, _user_of(transaction, id))
    membership = lock(transaction, MEMBERSHIP, id, expected_version)
    if (membership["organisation_id"], membership["pharmacy_id"]) == (body.organisation_id, body.pharmacy_id):
        raise Conflict("the user belongs there already")
    ended = _close(transaction, membership["id"], membership["valid_from"], membership["valid_to"], body.valid_from)
    hours = body.weekly_hours if body.weekly_hours is not None else membership["weekly_hours"]
    opened = _open(
        transaction, successor_id, membership["user_id"], body, membership["is_primary"], hours, body.valid_from
    )
    return Done.of(opened, ended, created=True)


def end(transaction: TenantTransaction, id: UUID, expected_version: int, body: EndMembership) -> Done:
    """``valid_to`` defaults to today in Japan. Raises NotFound, VersionConflict, Conflict."""
    membership = lock(transaction, MEMBERSHIP, id, expected_version)
    return Done.of(
        _close(transaction, membership["id"], membership["valid_from"], membership["valid_to"], body.valid_to)
    )


def lock_all(transaction: TenantTransaction, of: Literal["user_id", "pharmacy_id"], id: UUID) -> list[DictRow]:
    """The open memberships of a user, or in a pharmacy: id and valid_from."""
    return transaction.rows(
        sql.SQL(
            "SELECT id, valid_from FROM directory.memberships WHERE tenant_id = %s AND {} = %s AND valid_to IS NULL "
            "ORDER BY id FOR NO KEY UPDATE"
        ).format(sql.Identifier(of)),
        (transaction.tenant_id, id),
    )


def end_all(
    transaction: TenantTransaction, of: Literal["user_id", "pharmacy_id"], id: UUID, on: date | None
) -> list[Recorded]:
    """Every open membership of what this transaction has locked. One that starts later ends on its first day."""
    memberships = lock_all(transaction, of, id)
    today = _today(transaction)
    return [
        _close(transaction, row["id"], row["valid_from"], None, max(on or today, row["valid_from"]))
        for row in memberships
    ]


def _open(
    transaction: TenantTransaction,
    id: UUID,
    user_id: UUID,
    place: Place,
    is_primary: bool,
    weekly_hours: Decimal,
    valid_from: date | None,
) -> Recorded:
    if place.organisation_id is not None:
        need_open(hold(transaction, ORGANISATION, place.organisation_id))
    if place.pharmacy_id is not None:
        need_open(hold(transaction, PHARMACY, place.pharmacy_id))
    touched = transaction.execute(
        "INSERT INTO directory.memberships "
        "(id, tenant_id, user_id, organisation_id, pharmacy_id, is_primary, weekly_hours, valid_from, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 1) ON CONFLICT DO NOTHING",
        (
            id,
            transaction.tenant_id,
            user_id,
            place.organisation_id,
            place.pharmacy_id,
            is_primary,
            weekly_hours,
            valid_from or _today(transaction),
        ),
    )
    if touched == 0:
        raise Conflict(
            "the user belongs there already, or has another primary membership",
            fix="end that one first, or send is_primary: false",
        )
    return record(transaction, MEMBERSHIP_ASSIGNED, id, 1)


def _close(
    transaction: TenantTransaction, id: UUID, valid_from: date, valid_to: date | None, on: date | None
) -> Recorded:
    last = on or _today(transaction)
    if valid_to is not None:
        raise Conflict(f"the membership ended on {valid_to}")
    if last < valid_from:
        raise Conflict(f"the membership begins on {valid_from}, after {last}")
    row = transaction.row(
        "UPDATE directory.memberships SET valid_to = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s RETURNING version",
        (last, transaction.tenant_id, id),
    )
    assert row is not None  # locked by the caller
    return record(transaction, MEMBERSHIP_ENDED, id, row["version"])


def _user_of(transaction: TenantTransaction, id: UUID) -> UUID:
    row = transaction.row(
        "SELECT user_id FROM directory.memberships WHERE tenant_id = %s AND id = %s", (transaction.tenant_id, id)
    )
    if row is None:
        raise NotFound(f"there is no membership {id}")
    user_id: UUID = row["user_id"]
    return user_id


def _today(transaction: TenantTransaction) -> date:
    row = transaction.row("SELECT (now() AT TIME ZONE 'Asia/Tokyo')::date AS today")
    assert row is not None
    today: date = row["today"]
    return today
