"""A session: one browser in which a person is logged in, until logout, revocation, idleness or its absolute end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from services.auth import grants
from services.auth.events import LOGIN_SUCCEEDED, SESSION_ENDED, SESSION_RENEWED
from services.auth.handle import Handle
from services.shared.event import Recorded, record
from services.shared.transaction import TenantTransaction

EndedBy = Literal["logout", "revoked", "password_changed", "factor_changed", "operator", "replaced"]

ONE_FACTOR = "urn:rireki:acr:one-factor"
TWO_FACTORS = "urn:rireki:acr:two-factors"
_FRESH = timedelta(minutes=10)
_TOUCH_AFTER = timedelta(minutes=1)  # so that a busy session isn't written all the time


@dataclass(frozen=True, slots=True)
class Session:
    id: UUID
    tenant_id: UUID
    user_id: UUID
    amr: list[str]
    acr: str
    started_at: datetime
    authenticated_at: datetime  # when the person last showed who they are
    expires_at: datetime
    version: int
    last_seen_at: datetime

    @property
    def fresh(self) -> bool:
        """Whether the person has shown lately who they are, as whoever changes what proves it has to."""
        return datetime.now(UTC) - self.authenticated_at <= _FRESH


_READ = (
    "SELECT s.id, s.tenant_id, s.user_id, s.amr, s.acr, s.started_at, s.authenticated_at, s.expires_at, s.version, "
    "h.last_seen_at "
    "FROM auth.sessions AS s JOIN auth.session_handles AS h ON h.tenant_id = s.tenant_id AND h.session_id = s.id "
    "WHERE s.tenant_id = %(tenant)s AND s.ended_at IS NULL AND s.expires_at > now() "
    "AND h.last_seen_at > now() - %(idle)s "
)


def start(
    transaction: TenantTransaction,
    user_id: UUID,
    *,
    amr: Sequence[str],
    acr: str,
    length: timedelta,
    upstream_id: UUID | None = None,
) -> tuple[UUID, Handle, Recorded]:
    """The id, what the browser keeps, and the event that somebody logged in."""
    id, handle = uuid4(), Handle.new(transaction.tenant_id)
    transaction.execute(
        "INSERT INTO auth.sessions (id, tenant_id, user_id, amr, acr, upstream_id, expires_at, version) "
        "VALUES (%s, %s, %s, %s, %s, %s, now() + %s, 1)",
        (id, transaction.tenant_id, user_id, list(amr), acr, upstream_id, length),
    )
    transaction.execute(
        "INSERT INTO auth.session_handles (session_id, tenant_id, secret_hash) VALUES (%s, %s, %s)",
        (id, transaction.tenant_id, handle.hash),
    )
    return id, handle, record(transaction, LOGIN_SUCCEEDED, id, 1)


def renew(
    transaction: TenantTransaction, session: Session, *, amr: Sequence[str], acr: str
) -> tuple[Handle, Recorded] | None:
    """The person has shown more, or the same again. The browser gets a new handle: whoever knew the old one is out.

    What products were let do stays; so does the absolute end. None when it has ended meanwhile.
    """
    row = transaction.row(
        "UPDATE auth.sessions SET amr = %s, acr = %s, authenticated_at = now(), version = version + 1 "
        "WHERE tenant_id = %s AND id = %s AND ended_at IS NULL AND expires_at > now() RETURNING version",
        (list(amr), acr, transaction.tenant_id, session.id),
    )
    if row is None:
        return None
    handle = Handle.new(transaction.tenant_id)
    transaction.execute(
        "UPDATE auth.session_handles SET secret_hash = %s, last_seen_at = now() "
        "WHERE tenant_id = %s AND session_id = %s",
        (handle.hash, transaction.tenant_id, session.id),
    )
    return handle, record(transaction, SESSION_RENEWED, session.id, row["version"])


def of_handle(transaction: TenantTransaction, handle: Handle, idle: timedelta) -> Session | None:
    """The session that is still alive, or None."""
    row = transaction.row(
        _READ + "AND h.secret_hash = %(hash)s",
        {"tenant": transaction.tenant_id, "idle": idle, "hash": handle.hash},
    )
    return Session(**row) if row else None


def find(transaction: TenantTransaction, id: UUID, idle: timedelta) -> Session | None:
    row = transaction.row(_READ + "AND s.id = %(id)s", {"tenant": transaction.tenant_id, "idle": idle, "id": id})
    return Session(**row) if row else None


def of_user(transaction: TenantTransaction, user_id: UUID, idle: timedelta) -> list[Session]:
    """Those still alive, the newest first."""
    rows = transaction.rows(
        _READ + "AND s.user_id = %(user)s ORDER BY s.started_at DESC, s.id",
        {"tenant": transaction.tenant_id, "idle": idle, "user": user_id},
    )
    return [Session(**row) for row in rows]


def touch(transaction: TenantTransaction, id: UUID) -> None:
    """Somebody is there: the idle time starts anew."""
    transaction.execute(
        "UPDATE auth.session_handles SET last_seen_at = now() "
        "WHERE tenant_id = %s AND session_id = %s AND last_seen_at < now() - %s",
        (transaction.tenant_id, id, _TOUCH_AFTER),
    )


def end(transaction: TenantTransaction, id: UUID, by: EndedBy) -> Recorded | None:
    """End it, with everything that it lets products do. None when it has ended already."""
    row = transaction.row(
        "UPDATE auth.sessions SET ended_at = now(), ended_by = %s, version = version + 1 "
        "WHERE tenant_id = %s AND id = %s AND ended_at IS NULL RETURNING version",
        (by, transaction.tenant_id, id),
    )
    if row is None:
        return None
    ended = record(transaction, SESSION_ENDED, id, row["version"])
    grants.revoke_all_of_session(transaction, id)
    return ended


def end_all(transaction: TenantTransaction, user_id: UUID, by: EndedBy, *, but: UUID | None = None) -> int:
    """Every one of a person's that hasn't ended, idle ones too. How many."""
    rows = transaction.rows(
        "SELECT id FROM auth.sessions WHERE tenant_id = %s AND user_id = %s AND ended_at IS NULL ORDER BY id",
        (transaction.tenant_id, user_id),
    )
    return sum(end(transaction, row["id"], by) is not None for row in rows if row["id"] != but)
