"""Finding and locking the state that a command decides on."""

from __future__ import annotations

from uuid import UUID

from psycopg import sql
from psycopg.rows import DictRow

from services.shared.errors import Conflict, NotFound, VersionConflict
from services.shared.event import Aggregate
from services.shared.transaction import TenantTransaction


def lock(transaction: TenantTransaction, aggregate: Aggregate, id: UUID, expected_version: int) -> DictRow:
    """The row, kept from others until the end. Raises NotFound, VersionConflict."""
    row = take(transaction, aggregate, id)
    if row["version"] != expected_version:
        raise VersionConflict(
            f"{aggregate.type} {id} is at version {row['version']}, the command expects {expected_version}"
        )
    return row


def take(transaction: TenantTransaction, aggregate: Aggregate, id: UUID) -> DictRow:
    """The row whatever its version, kept from others until the end: they take turns. Raises NotFound."""
    return _find(transaction, aggregate, id, sql.SQL("FOR NO KEY UPDATE"))


def hold(transaction: TenantTransaction, aggregate: Aggregate, id: UUID) -> DictRow:
    """A row that the command refers to: it can't change until the end. Raises NotFound."""
    return _find(transaction, aggregate, id, sql.SQL("FOR SHARE"))


def need_tenant(transaction: TenantTransaction) -> DictRow:
    """The tenant's row, which every service may read; no reorganisation changes it until the end.

    Raises NotFound, Conflict for a tenant that was merged into another.
    """
    row = transaction.row("SELECT * FROM directory.tenants WHERE tenant_id = %s", (transaction.tenant_id,))
    if row is None:
        raise NotFound(f"there is no tenant {transaction.tenant_id}")
    if row["merged_into"] is not None:
        raise Conflict(f"the tenant was merged into {row['merged_into']}", fix="act for that one")
    return row


def _find(transaction: TenantTransaction, aggregate: Aggregate, id: UUID, strength: sql.SQL) -> DictRow:
    row = transaction.row(
        sql.SQL("SELECT * FROM {} WHERE tenant_id = %s AND {} = %s {}").format(
            sql.Identifier(aggregate.schema, aggregate.table), sql.Identifier(aggregate.key), strength
        ),
        (transaction.tenant_id, id),
    )
    if row is None:
        raise NotFound(f"there is no {aggregate.type.replace('_', ' ')} {id}")
    return row
