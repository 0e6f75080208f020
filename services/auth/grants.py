"""A grant: what one session lets one product do. The family of a code and of every token that came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from services.auth.events import GRANT_ISSUED, GRANT_REVOKED
from services.auth.handle import Handle
from services.shared.event import record
from services.shared.transaction import TenantTransaction

RevokedBy = Literal["client", "session_ended", "code_reused", "token_reused"]
CODE_LIFE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Grant:
    id: UUID
    tenant_id: UUID
    user_id: UUID
    session_id: UUID
    client_id: str
    scope: str
    revoked_at: datetime | None
    version: int


_COLUMNS = "g.id, g.tenant_id, g.user_id, g.session_id, g.client_id, g.scope, g.revoked_at, g.version"


def issue(transaction: TenantTransaction, user_id: UUID, session_id: UUID, client_id: str, scope: str) -> UUID:
    id = uuid4()
    transaction.execute(
        "INSERT INTO auth.grants (id, tenant_id, user_id, session_id, client_id, scope, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, 1)",
        (id, transaction.tenant_id, user_id, session_id, client_id, scope),
    )
    record(transaction, GRANT_ISSUED, id, 1)
    return id


def find(transaction: TenantTransaction, id: UUID) -> Grant | None:
    row = transaction.row(
        f"SELECT {_COLUMNS} FROM auth.grants AS g WHERE g.tenant_id = %s AND g.id = %s",  # noqa: S608 - written above
        (transaction.tenant_id, id),
    )
    return Grant(**row) if row else None


def revoke(transaction: TenantTransaction, id: UUID, by: RevokedBy) -> bool:
    """The whole family, at once. Whether it was in force until now."""
    row = transaction.row(
        "UPDATE auth.grants SET revoked_at = now(), revoked_by = %s, version = version + 1 "
        "WHERE tenant_id = %s AND id = %s AND revoked_at IS NULL RETURNING version",
        (by, transaction.tenant_id, id),
    )
    if row is not None:
        record(transaction, GRANT_REVOKED, id, row["version"])
    return row is not None


def revoke_all_of_session(transaction: TenantTransaction, session_id: UUID) -> None:
    for row in transaction.rows(
        "SELECT id FROM auth.grants WHERE tenant_id = %s AND session_id = %s AND revoked_at IS NULL ORDER BY id",
        (transaction.tenant_id, session_id),
    ):
        revoke(transaction, row["id"], "session_ended")


# Codes


@dataclass(frozen=True, slots=True)
class Code:
    hash: bytes
    grant: Grant
    redirect_uri: str
    challenge: str
    nonce: str | None
    used: bool
    expired: bool


def issue_code(
    transaction: TenantTransaction, grant_id: UUID, *, redirect_uri: str, challenge: str, nonce: str | None
) -> Handle:
    handle = Handle.new(transaction.tenant_id)
    transaction.execute(
        "INSERT INTO auth.codes (code_hash, tenant_id, grant_id, redirect_uri, challenge, nonce, expires_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, now() + %s)",
        (handle.hash, transaction.tenant_id, grant_id, redirect_uri, challenge, nonce, CODE_LIFE),
    )
    return handle


def lock_code(transaction: TenantTransaction, handle: Handle) -> Code | None:
    """Kept from others until the end: of two that bring the same code, the second finds it used."""
    row = transaction.row(
        "SELECT redirect_uri, challenge, nonce, used_at IS NOT NULL AS used, expires_at <= now() AS expired, grant_id "
        "FROM auth.codes WHERE tenant_id = %s AND code_hash = %s FOR NO KEY UPDATE",
        (transaction.tenant_id, handle.hash),
    )
    if row is None:
        return None
    grant = find(transaction, row.pop("grant_id"))
    assert grant is not None
    return Code(hash=handle.hash, grant=grant, **row)


def use_code(transaction: TenantTransaction, code: Code) -> None:
    transaction.execute(
        "UPDATE auth.codes SET used_at = now() WHERE tenant_id = %s AND code_hash = %s",
        (transaction.tenant_id, code.hash),
    )


# Refresh tokens


@dataclass(frozen=True, slots=True)
class RefreshToken:
    hash: bytes
    grant: Grant
    used: bool


def issue_refresh_token(transaction: TenantTransaction, grant_id: UUID) -> Handle:
    """It lives as long as the session that the grant belongs to."""
    handle = Handle.new(transaction.tenant_id)
    transaction.execute(
        "INSERT INTO auth.refresh_tokens (token_hash, tenant_id, grant_id) VALUES (%s, %s, %s)",
        (handle.hash, transaction.tenant_id, grant_id),
    )
    return handle


def lock_refresh_token(transaction: TenantTransaction, handle: Handle) -> RefreshToken | None:
    row = transaction.row(
        "SELECT used_at IS NOT NULL AS used, grant_id FROM auth.refresh_tokens "
        "WHERE tenant_id = %s AND token_hash = %s FOR NO KEY UPDATE",
        (transaction.tenant_id, handle.hash),
    )
    if row is None:
        return None
    grant = find(transaction, row["grant_id"])
    assert grant is not None
    return RefreshToken(handle.hash, grant, row["used"])


def use_refresh_token(transaction: TenantTransaction, token: RefreshToken) -> None:
    transaction.execute(
        "UPDATE auth.refresh_tokens SET used_at = now() WHERE tenant_id = %s AND token_hash = %s",
        (transaction.tenant_id, token.hash),
    )
