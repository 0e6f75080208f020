"""Create a tenant, and rename it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.directory.events import TENANT, TENANT_CREATED, TENANT_RENAMED
from services.directory.fields import CorporateNumber
from services.shared.errors import Conflict
from services.shared.event import record
from services.shared.state import lock
from services.shared.transaction import TenantTransaction
from services.web.call import Done
from services.web.fields import Command, Name


class CreateTenant(Command):
    name: Name
    kana: Name
    corporate_number: CorporateNumber | None = None
    pharmacy_limit: Annotated[int, Field(ge=1, le=100_000)] = 1000


class RenameTenant(Command):
    name: Name
    kana: Name


def create(transaction: TenantTransaction, body: CreateTenant) -> Done:
    """Raises Conflict when the tenant is there already."""
    touched = transaction.execute(
        "INSERT INTO directory.tenants (tenant_id, name, kana, corporate_number, pharmacy_limit, version) "
        "VALUES (%s, %s, %s, %s, %s, 1) ON CONFLICT (tenant_id) DO NOTHING",
        (transaction.tenant_id, body.name, body.kana, body.corporate_number, body.pharmacy_limit),
    )
    if touched == 0:
        raise Conflict("this tenant exists already", fix="send a new Idempotency-Key for another tenant")
    return Done.of(record(transaction, TENANT_CREATED, transaction.tenant_id, 1), created=True)


def rename(transaction: TenantTransaction, expected_version: int, body: RenameTenant) -> Done:
    """Raises NotFound, VersionConflict, Conflict."""
    tenant = lock(transaction, TENANT, transaction.tenant_id, expected_version)
    if tenant["merged_into"] is not None:
        raise Conflict(f"the tenant was merged into {tenant['merged_into']}", fix="act for that one")
    if (tenant["name"], tenant["kana"]) == (body.name, body.kana):
        raise Conflict("it is called so already")
    transaction.execute(
        "UPDATE directory.tenants SET name = %s, kana = %s, version = version + 1, updated_at = now() "
        "WHERE tenant_id = %s",
        (body.name, body.kana, transaction.tenant_id),
    )
    return Done.of(record(transaction, TENANT_RENAMED, transaction.tenant_id, expected_version + 1))
