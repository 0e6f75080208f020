"""What directory's tables say of a person, read each time: who retires is out at once. The service isn't asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.shared.transaction import TenantTransaction


@dataclass(frozen=True, slots=True)
class Person:
    user_id: UUID
    tenant_id: UUID
    name: str
    status: str

    @property
    def may_log_in(self) -> bool:
        return self.status == "active"

    @property
    def may_enrol(self) -> bool:
        """An invited one prepares for the day of activation."""
        return self.status in ("invited", "active")


def find(transaction: TenantTransaction, user_id: UUID) -> Person | None:
    row = transaction.row(
        "SELECT id AS user_id, tenant_id, name, status FROM directory.users WHERE tenant_id = %s AND id = %s",
        (transaction.tenant_id, user_id),
    )
    return Person(**row) if row else None


def login_candidates(transaction: TenantTransaction, kind: str, value: str) -> list[tuple[UUID, UUID]]:
    """Tenant and id of whatever answers to it, in every tenant: ids and nothing else."""
    rows = transaction.rows("SELECT tenant_id, id FROM auth.find_login(%s, %s)", (kind, value))
    return [(row["tenant_id"], row["id"]) for row in rows]


def tenant_name(transaction: TenantTransaction) -> str:
    row = transaction.row("SELECT name FROM directory.tenants WHERE tenant_id = %s", (transaction.tenant_id,))
    return str(row["name"]) if row else ""


def address_of(transaction: TenantTransaction, user_id: UUID) -> str:
    """What the person types to log in."""
    row = transaction.row(
        "SELECT value FROM directory.login_identifiers WHERE tenant_id = %s AND user_id = %s AND kind = 'email' "
        "ORDER BY value LIMIT 1",
        (transaction.tenant_id, user_id),
    )
    return str(row["value"]) if row else str(user_id)


def affiliations(transaction: TenantTransaction, user_id: UUID) -> dict[str, Any]:
    """Tenant, organisations, pharmacies and roles as of today in Japan, as userinfo tells them."""
    key = {"tenant": transaction.tenant_id, "user": user_id}
    belongs = """
        SELECT organisation_id, pharmacy_id, is_primary FROM directory.memberships
        WHERE tenant_id = %(tenant)s AND user_id = %(user)s
          AND valid_from <= (now() AT TIME ZONE 'Asia/Tokyo')::date
          AND (valid_to IS NULL OR valid_to > (now() AT TIME ZONE 'Asia/Tokyo')::date)
    """
    organisations = transaction.rows(
        f"WITH belongs AS ({belongs}) "  # noqa: S608 - both parts are written here
        "SELECT o.id::text, o.name, o.kind, b.is_primary AS primary FROM belongs AS b "
        "JOIN directory.organisations AS o ON o.tenant_id = %(tenant)s AND o.id = b.organisation_id ORDER BY o.id",
        key,
    )
    pharmacies = transaction.rows(
        f"WITH belongs AS ({belongs}) "  # noqa: S608 - both parts are written here
        "SELECT p.id::text, p.name, p.code, p.organisation_id::text, b.is_primary AS primary FROM belongs AS b "
        "JOIN directory.pharmacies AS p ON p.tenant_id = %(tenant)s AND p.id = b.pharmacy_id ORDER BY p.id",
        key,
    )
    roles = transaction.rows(
        "SELECT role, organisation_id::text, pharmacy_id::text FROM directory.role_grants "
        "WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND revoked_at IS NULL "
        "ORDER BY role, organisation_id, pharmacy_id",
        key,
    )
    return {
        "tenant": {"id": str(transaction.tenant_id), "name": tenant_name(transaction)},
        "organisations": organisations,
        "pharmacies": pharmacies,
        "roles": [{name: value for name, value in row.items() if value is not None} for row in roles],
    }
