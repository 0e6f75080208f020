"""A second factor: an authenticator app, a passkey, or the recovery codes that stand in for a lost one.

A factor is a fact that may be shared; what proves it is kept apart, by totp, passkeys and recovery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID, uuid4

from services.auth.events import FACTOR_ENROLLED, FACTOR_REMOVED
from services.auth.secrets import among_secrets
from services.shared.event import record
from services.shared.transaction import TenantTransaction

Kind = Literal["totp", "webauthn", "recovery"]
_PROOFS: dict[Kind, LiteralString] = {
    "totp": "DELETE FROM auth.totp_seeds WHERE tenant_id = %s AND factor_id = %s",
    "webauthn": "DELETE FROM auth.webauthn_credentials WHERE tenant_id = %s AND factor_id = %s",
    "recovery": "DELETE FROM auth.recovery_codes WHERE tenant_id = %s AND factor_id = %s",
}


@dataclass(frozen=True, slots=True)
class Factor:
    id: UUID
    user_id: UUID
    kind: Kind
    label: str
    enrolled_at: datetime
    version: int


def of_user(transaction: TenantTransaction, user_id: UUID) -> list[Factor]:
    """Those in force, the oldest first."""
    rows = transaction.rows(
        "SELECT id, user_id, kind, label, enrolled_at, version FROM auth.factors "
        "WHERE tenant_id = %s AND user_id = %s AND removed_at IS NULL ORDER BY enrolled_at, id",
        (transaction.tenant_id, user_id),
    )
    return [Factor(**row) for row in rows]


def standing(factors: Sequence[Factor]) -> list[Factor]:
    """Those that a login can rest on: recovery codes only stand in for another."""
    return [factor for factor in factors if factor.kind != "recovery"]


def of_kind(factors: Sequence[Factor], kind: Kind) -> list[Factor]:
    return [factor for factor in factors if factor.kind == kind]


def enrol(transaction: TenantTransaction, user_id: UUID, kind: Kind, label: str) -> UUID:
    """Its id; the caller keeps what proves it, in the same transaction."""
    id = uuid4()
    transaction.execute(
        "INSERT INTO auth.factors (id, tenant_id, user_id, kind, label, version) VALUES (%s, %s, %s, %s, %s, 1)",
        (id, transaction.tenant_id, user_id, kind, label),
    )
    record(transaction, FACTOR_ENROLLED, id, 1)
    return id


def remove(transaction: TenantTransaction, factor: Factor) -> None:
    """What proved it is deleted, not marked."""
    transaction.execute(
        "UPDATE auth.factors SET removed_at = now(), version = version + 1 WHERE tenant_id = %s AND id = %s",
        (transaction.tenant_id, factor.id),
    )
    record(transaction, FACTOR_REMOVED, factor.id, factor.version + 1)
    with among_secrets(transaction):
        transaction.execute(_PROOFS[factor.kind], (transaction.tenant_id, factor.id))


def remove_all(transaction: TenantTransaction, user_id: UUID) -> int:
    found = of_user(transaction, user_id)
    for factor in found:
        remove(transaction, factor)
    return len(found)
