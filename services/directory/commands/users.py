"""Invite, activate, suspend and retire users; their names and addresses change too."""

from __future__ import annotations

from uuid import UUID

from services.directory.commands import memberships, role_grants
from services.directory.events import (
    USER,
    USER_ACTIVATED,
    USER_IDENTIFIED,
    USER_INVITED,
    USER_RENAMED,
    USER_RETIRED,
    USER_SUSPENDED,
)
from services.directory.fields import Email
from services.shared.errors import Conflict
from services.shared.event import EventType, record
from services.shared.state import lock, need_tenant
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Day, Name


class InviteUser(Command):
    name: Name
    kana: Name
    email: Email
    is_pharmacist: bool
    hired_on: Day | None = None


class ActivateUser(Command):
    pass


class SuspendUser(Command):
    pass


class RetireUser(Command):
    retired_on: Day | None = None


class RenameUser(Command):
    name: Name
    kana: Name


class IdentifyUser(Command):
    email: Email


def invite(transaction: TenantTransaction, id: UUID, body: InviteUser) -> Done:
    """Raises Conflict when somebody of the tenant has that address."""
    need_tenant(transaction)
    transaction.execute(
        "INSERT INTO directory.users (id, tenant_id, name, kana, status, is_pharmacist, hired_on, version) "
        "VALUES (%s, %s, %s, %s, 'invited', %s, %s, 1)",
        (id, transaction.tenant_id, body.name, body.kana, body.is_pharmacist, body.hired_on),
    )
    touched = transaction.execute(
        "INSERT INTO directory.login_identifiers (tenant_id, kind, value, user_id, user_version) "
        "VALUES (%s, 'email', %s, %s, 1) ON CONFLICT DO NOTHING",
        (transaction.tenant_id, body.email, id),
    )
    if touched == 0:
        raise Conflict(
            "somebody of this tenant has that e-mail address", fix="find that user, or invite another address"
        )
    return Done.of(record(transaction, USER_INVITED, id, 1), created=True)


def activate(transaction: TenantTransaction, id: UUID, expected_version: int) -> Done:
    """An invited or suspended user may work. Raises NotFound, VersionConflict, Conflict."""
    return _enter(transaction, id, expected_version, "active", ("invited", "suspended"), USER_ACTIVATED)


def suspend(transaction: TenantTransaction, id: UUID, expected_version: int) -> Done:
    """An active user may not work for now; memberships and roles stay. Raises NotFound, VersionConflict, Conflict."""
    return _enter(transaction, id, expected_version, "suspended", ("active",), USER_SUSPENDED)


def retire(transaction: TenantTransaction, id: UUID, expected_version: int, body: RetireUser) -> Done:
    """The user leaves for good: memberships end and roles are revoked with it, each with its own event.

    ``retired_on`` defaults to today in Japan. Raises NotFound, VersionConflict, Conflict.
    """
    user = lock(transaction, USER, id, expected_version)
    if user["status"] == "retired":
        raise Conflict("the user has retired already")
    transaction.execute(
        "UPDATE directory.users SET status = 'retired', version = version + 1, updated_at = now(), "
        "retired_on = coalesce(%s, (now() AT TIME ZONE 'Asia/Tokyo')::date) WHERE tenant_id = %s AND id = %s",
        (body.retired_on, transaction.tenant_id, id),
    )
    retired = record(transaction, USER_RETIRED, id, expected_version + 1)
    ended = memberships.end_all(transaction, "user_id", id, body.retired_on)
    revoked = role_grants.revoke_all(transaction, "user_id", id)
    return Done.of(retired, *ended, *revoked)


def rename(transaction: TenantTransaction, id: UUID, expected_version: int, body: RenameUser) -> Done:
    """Raises NotFound, VersionConflict, Conflict."""
    user = lock(transaction, USER, id, expected_version)
    if (user["name"], user["kana"]) == (body.name, body.kana):
        raise Conflict("the user is called so already")
    transaction.execute(
        "UPDATE directory.users SET name = %s, kana = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (body.name, body.kana, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, USER_RENAMED, id, expected_version + 1))


def identify(transaction: TenantTransaction, id: UUID, expected_version: int, body: IdentifyUser) -> Done:
    """The user logs in with another address from now on. The event tells that it changed, never to what.

    Raises NotFound, VersionConflict, Conflict for a retired user, or when somebody of the tenant has that address.
    """
    if lock(transaction, USER, id, expected_version)["status"] == "retired":
        raise Conflict("the user has retired")
    taken = transaction.row(
        "SELECT user_id FROM directory.login_identifiers WHERE tenant_id = %s AND kind = 'email' AND value = %s",
        (transaction.tenant_id, body.email),
    )
    if taken is not None:
        raise Conflict("somebody of this tenant has that e-mail address", fix="find that user, or send another address")
    transaction.execute(
        "UPDATE directory.users SET version = version + 1, updated_at = now() WHERE tenant_id = %s AND id = %s",
        (transaction.tenant_id, id),
    )
    transaction.execute(
        "UPDATE directory.login_identifiers SET value = %s, user_version = %s "
        "WHERE tenant_id = %s AND kind = 'email' AND user_id = %s",
        (body.email, expected_version + 1, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, USER_IDENTIFIED, id, expected_version + 1))


def _enter(
    transaction: TenantTransaction,
    id: UUID,
    expected_version: int,
    status: str,
    allowed: tuple[str, ...],
    event: EventType,
) -> Done:
    user = lock(transaction, USER, id, expected_version)
    if user["status"] not in allowed:
        raise Conflict(f"the user is {user['status']}, and only an {' or '.join(allowed)} one can become {status}")
    transaction.execute(
        "UPDATE directory.users SET status = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s AND id = %s",
        (status, transaction.tenant_id, id),
    )
    return Done.of(record(transaction, event, id, expected_version + 1))
