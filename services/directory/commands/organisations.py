"""The tree of a tenant: register organisations, rename, move and close them."""

from __future__ import annotations

from uuid import UUID

from psycopg.rows import DictRow

from services.directory.events import (
    ORGANISATION,
    ORGANISATION_CLOSED,
    ORGANISATION_MOVED,
    ORGANISATION_REGISTERED,
    ORGANISATION_RENAMED,
)
from services.directory.fields import OrganisationKind
from services.shared.errors import Conflict
from services.shared.event import record
from services.shared.state import hold, lock, need_tenant
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Day, Name


class RegisterOrganisation(Command):
    name: Name
    kana: Name
    kind: OrganisationKind = "company"
    parent_id: UUID | None = None


class RenameOrganisation(Command):
    name: Name
    kana: Name


class MoveOrganisation(Command):
    parent_id: UUID | None


class CloseOrganisation(Command):
    closed_on: Day | None = None


def register(transaction: TenantTransaction, id: UUID, body: RegisterOrganisation) -> Done:
    """Raises NotFound for an unknown parent, Conflict for one that is closed."""
    need_tenant(transaction)
    if body.parent_id is not None:
        need_open(hold(transaction, ORGANISATION, body.parent_id))
    transaction.execute(
        "INSERT INTO directory.organisations (id, tenant_id, parent_id, kind, name, kana, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, 1)",
        (id, transaction.tenant_id, body.parent_id, body.kind, body.name, body.kana),
    )
    return Done.of(record(transaction, ORGANISATION_REGISTERED, id, 1), created=True)


def rename(transaction: TenantTransaction, id: UUID, expected_version: int, body: RenameOrganisation) -> Done:
    """The name it had joins the aliases. Raises NotFound, VersionConflict, Conflict."""
    organisation = lock(transaction, ORGANISATION, id, expected_version)
    if (organisation["name"], organisation["kana"]) == (body.name, body.kana):
        raise Conflict("it is called so already")
    transaction.execute(
        "UPDATE directory.organisations SET name = %s, kana = %s, version = version + 1, updated_at = now(), "
        "aliases = CASE WHEN name = %s THEN aliases ELSE array_append(array_remove(aliases, name), name) END "
        "WHERE tenant_id = %s AND id = %s",
        (body.name, body.kana, body.name, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, ORGANISATION_RENAMED, id, expected_version + 1))


def move(transaction: TenantTransaction, id: UUID, expected_version: int, body: MoveOrganisation) -> Done:
    """With all that hangs on it, under another one, or (null) to the top.

    Raises NotFound, VersionConflict, Conflict when it hangs there already, is closed, or would hang on itself.
    """
    # Two moves at once, each harmless, could together close a ring: moves within a tenant take turns.
    transaction.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"directory/tree/{transaction.tenant_id}",)
    )
    organisation = lock(transaction, ORGANISATION, id, expected_version)
    need_open(organisation)
    if organisation["parent_id"] == body.parent_id:
        raise Conflict("it hangs there already")
    if body.parent_id is not None:
        need_open(hold(transaction, ORGANISATION, body.parent_id))
        if id in _line(transaction, body.parent_id):
            raise Conflict("it would hang on itself", fix="choose a parent that doesn't belong to it")
    transaction.execute(
        "UPDATE directory.organisations SET parent_id = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.parent_id, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, ORGANISATION_MOVED, id, expected_version + 1))


def close(transaction: TenantTransaction, id: UUID, expected_version: int, body: CloseOrganisation) -> Done:
    """``closed_on`` defaults to today in Japan. Raises NotFound, VersionConflict, Conflict while it is in use."""
    need_open(lock(transaction, ORGANISATION, id, expected_version))
    left = transaction.row(
        "SELECT (SELECT count(*) FROM directory.organisations "
        "        WHERE tenant_id = %(t)s AND parent_id = %(id)s AND closed_on IS NULL) AS organisations, "
        "(SELECT count(*) FROM directory.pharmacies "
        " WHERE tenant_id = %(t)s AND organisation_id = %(id)s AND closed_on IS NULL) AS pharmacies, "
        "(SELECT count(*) FROM directory.memberships "
        " WHERE tenant_id = %(t)s AND organisation_id = %(id)s AND valid_to IS NULL) AS memberships, "
        "(SELECT count(*) FROM directory.role_grants "
        ' WHERE tenant_id = %(t)s AND organisation_id = %(id)s AND revoked_at IS NULL) AS "role grants"',
        {"t": transaction.tenant_id, "id": id},
    )
    assert left is not None
    if any(left.values()):
        told = ", ".join(f"{count} {what}" for what, count in left.items() if count)
        raise Conflict(f"it still has {told}", fix="move or end them first")
    transaction.execute(
        "UPDATE directory.organisations SET closed_on = coalesce(%s, (now() AT TIME ZONE 'Asia/Tokyo')::date), "
        "version = version + 1, updated_at = now() WHERE tenant_id = %s AND id = %s",
        (body.closed_on, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, ORGANISATION_CLOSED, id, expected_version + 1))


def need_open(place: DictRow) -> DictRow:
    """An organisation or a pharmacy that isn't closed. Raises Conflict."""
    if place["closed_on"] is not None:
        raise Conflict(f"{place['name']} was closed on {place['closed_on']}", fix="name a place that is open")
    return place


def _line(transaction: TenantTransaction, id: UUID) -> set[UUID]:
    """An organisation and all that it hangs on."""
    rows = transaction.rows(
        "WITH RECURSIVE line AS ("
        " SELECT id, parent_id FROM directory.organisations WHERE tenant_id = %(t)s AND id = %(id)s"
        " UNION SELECT o.id, o.parent_id FROM directory.organisations AS o JOIN line ON o.id = line.parent_id"
        " WHERE o.tenant_id = %(t)s) SELECT id FROM line",
        {"t": transaction.tenant_id, "id": id},
    )
    return {row["id"] for row in rows}
