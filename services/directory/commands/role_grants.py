"""Grant and revoke roles."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from psycopg import sql
from pydantic import model_validator

from services.directory.commands.organisations import need_open
from services.directory.events import ORGANISATION, PHARMACY, ROLE_GRANT, ROLE_GRANTED, ROLE_REVOKED, USER
from services.directory.fields import Role
from services.shared.errors import Conflict
from services.shared.event import Recorded, record
from services.shared.state import hold, lock
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command


class GrantRole(Command):
    """In one organisation, in one pharmacy, or, naming neither, in the whole tenant."""

    role: Role
    organisation_id: UUID | None = None
    pharmacy_id: UUID | None = None

    @model_validator(mode="after")
    def _one_at_most(self) -> GrantRole:
        if self.organisation_id is not None and self.pharmacy_id is not None:
            raise ValueError("name organisation_id or pharmacy_id, not both")
        return self


class RevokeRole(Command):
    pass


def grant(transaction: TenantTransaction, id: UUID, user_id: UUID, body: GrantRole) -> Done:
    """Raises NotFound, Conflict for a retired user or a role that the user has there already."""
    user = hold(transaction, USER, user_id)
    if user["status"] == "retired":
        raise Conflict("the user has retired")
    if body.organisation_id is not None:
        need_open(hold(transaction, ORGANISATION, body.organisation_id))
    if body.pharmacy_id is not None:
        need_open(hold(transaction, PHARMACY, body.pharmacy_id))
    touched = transaction.execute(
        "INSERT INTO directory.role_grants "
        "(id, tenant_id, user_id, role, organisation_id, pharmacy_id, granted_by, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, 1) ON CONFLICT DO NOTHING",
        (
            id,
            transaction.tenant_id,
            user_id,
            body.role,
            body.organisation_id,
            body.pharmacy_id,
            transaction.context.actor_id,
        ),
    )
    if touched == 0:
        raise Conflict(f"the user is {body.role} there already")
    return Done.of(record(transaction, ROLE_GRANTED, id, 1), created=True)


def revoke(transaction: TenantTransaction, id: UUID, expected_version: int) -> Done:
    """Raises NotFound, VersionConflict, Conflict when it is revoked already."""
    granted = lock(transaction, ROLE_GRANT, id, expected_version)
    if granted["revoked_at"] is not None:
        raise Conflict("the role is revoked already")
    return Done.of(_revoke(transaction, id))


def revoke_all(transaction: TenantTransaction, of: Literal["user_id", "pharmacy_id"], id: UUID) -> list[Recorded]:
    """Every role of what this transaction has locked."""
    grants = transaction.rows(
        sql.SQL(
            "SELECT id FROM directory.role_grants WHERE tenant_id = %s AND {} = %s AND revoked_at IS NULL "
            "ORDER BY id FOR NO KEY UPDATE"
        ).format(sql.Identifier(of)),
        (transaction.tenant_id, id),
    )
    return [_revoke(transaction, row["id"]) for row in grants]


def _revoke(transaction: TenantTransaction, id: UUID) -> Recorded:
    row = transaction.row(
        "UPDATE directory.role_grants SET revoked_by = %s, revoked_at = now(), version = version + 1, "
        "updated_at = now() WHERE tenant_id = %s AND id = %s RETURNING version",
        (transaction.context.actor_id, transaction.tenant_id, id),
    )
    assert row is not None  # locked by the caller
    return record(transaction, ROLE_REVOKED, id, row["version"])
