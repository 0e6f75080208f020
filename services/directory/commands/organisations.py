"""Register and rename organisations."""

from __future__ import annotations

from uuid import UUID

from services.directory.events import ORGANISATION, ORGANISATION_REGISTERED, ORGANISATION_RENAMED
from services.directory.fields import OrganisationKind
from services.shared.errors import Conflict
from services.shared.event import record
from services.shared.state import hold, lock, need_tenant
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Name


class RegisterOrganisation(Command):
    name: Name
    kana: Name
    kind: OrganisationKind = "company"
    parent_id: UUID | None = None


class RenameOrganisation(Command):
    name: Name
    kana: Name


def register(transaction: TenantTransaction, id: UUID, body: RegisterOrganisation) -> Done:
    """Raises NotFound for an unknown parent."""
    if body.parent_id is not None:
        hold(transaction, ORGANISATION, body.parent_id)
    need_tenant(transaction)
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
