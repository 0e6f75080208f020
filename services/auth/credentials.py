"""What proves who somebody is: the password's hash, and links that let one be chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from services.auth import accounts, sessions
from services.auth.handle import Handle
from services.auth.secrets import among_secrets
from services.shared.transaction import TenantTransaction

ENROLMENT_LIFE = timedelta(hours=72)  # sent on Friday, opened on Monday


def password_hash(transaction: TenantTransaction, user_id: UUID) -> str | None:
    with among_secrets(transaction):
        row = transaction.row(
            "SELECT hash FROM auth.passwords WHERE tenant_id = %s AND user_id = %s", (transaction.tenant_id, user_id)
        )
    return str(row["hash"]) if row else None


def keep_password(transaction: TenantTransaction, user_id: UUID, hash: str) -> None:
    with among_secrets(transaction):
        transaction.execute(
            "INSERT INTO auth.passwords (user_id, tenant_id, hash) VALUES (%s, %s, %s) "
            "ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, set_at = now()",
            (user_id, transaction.tenant_id, hash),
        )


def choose_password(
    transaction: TenantTransaction, user_id: UUID, hash: str, *, stands_alone: bool, but: UUID | None = None
) -> None:
    """Who knew the old one is out everywhere; only the session ``but`` goes on."""
    account = accounts.open_for(transaction, user_id)
    keep_password(transaction, user_id, hash)
    accounts.has_new_password(transaction, account, needs_second_factor=not stands_alone)
    sessions.end_all(transaction, user_id, "password_changed", but=but)


@dataclass(frozen=True, slots=True)
class Enrolment:
    user_id: UUID
    open: bool  # neither used nor expired


def offer_enrolment(transaction: TenantTransaction, user_id: UUID, handle: Handle) -> None:
    """Let the bearer of the handle choose a password; earlier links of the same person stop working."""
    with among_secrets(transaction):
        transaction.execute(
            "UPDATE auth.enrolments SET used_at = now() WHERE tenant_id = %s AND user_id = %s AND used_at IS NULL",
            (transaction.tenant_id, user_id),
        )
        transaction.execute(
            "INSERT INTO auth.enrolments (token_hash, tenant_id, user_id, expires_at) VALUES (%s, %s, %s, now() + %s)",
            (handle.hash, transaction.tenant_id, user_id, ENROLMENT_LIFE),
        )


def enrolment(transaction: TenantTransaction, handle: Handle, *, for_update: bool) -> Enrolment | None:
    """``for_update`` keeps it from others until the end: of two that open the same link, the second finds it used."""
    query: LiteralString = (
        "SELECT user_id, used_at IS NULL AND expires_at > now() AS open FROM auth.enrolments "
        "WHERE tenant_id = %s AND token_hash = %s"
    )
    with among_secrets(transaction):
        row = transaction.row(
            query + " FOR NO KEY UPDATE" if for_update else query, (transaction.tenant_id, handle.hash)
        )
    return Enrolment(**row) if row else None


def use_enrolment(transaction: TenantTransaction, handle: Handle) -> None:
    with among_secrets(transaction):
        transaction.execute(
            "UPDATE auth.enrolments SET used_at = now() WHERE tenant_id = %s AND token_hash = %s",
            (transaction.tenant_id, handle.hash),
        )
