"""An account: may log in with what, and does somebody keep guessing? Each change with its event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.events import (
    ACCOUNT_OPENED,
    ACCOUNT_UNLOCKED,
    FAILURES_CLEARED,
    LOGIN_FAILED,
    PASSWORD_SET,
)
from services.shared.event import EventType, Recorded, record
from services.shared.transaction import TenantTransaction

# After five failures in a row a minute's wait, doubled by each further failure, an hour at most.
FREE_FAILURES = 5
_FIRST_LOCK_S = 60
_LONGEST_LOCK_S = 3600


@dataclass(frozen=True, slots=True)
class Account:
    user_id: UUID
    tenant_id: UUID
    has_password: bool
    needs_second_factor: bool
    failed_in_a_row: int
    locked_until: datetime | None
    version: int
    locked: bool  # now, by the database's clock


_READ = (
    "SELECT user_id, tenant_id, has_password, needs_second_factor, failed_in_a_row, locked_until, version, "
    "coalesce(locked_until > now(), false) AS locked FROM auth.accounts WHERE tenant_id = %s AND user_id = %s"
)


def find(transaction: TenantTransaction, user_id: UUID) -> Account | None:
    row = transaction.row(_READ, (transaction.tenant_id, user_id))
    return Account(**row) if row else None


def lock(transaction: TenantTransaction, user_id: UUID) -> Account | None:
    """The same, kept from others until the end."""
    row = transaction.row(_READ + " FOR NO KEY UPDATE", (transaction.tenant_id, user_id))
    return Account(**row) if row else None


def open_for(transaction: TenantTransaction, user_id: UUID) -> Account:
    """The account, locked; opened now if the user had none."""
    opened = transaction.execute(
        "INSERT INTO auth.accounts (user_id, tenant_id, version) VALUES (%s, %s, 1) ON CONFLICT DO NOTHING",
        (user_id, transaction.tenant_id),
    )
    if opened:
        # Recorded before anything else happens to it: an event shows the row as it is then.
        record(transaction, ACCOUNT_OPENED, user_id, 1)
    account = lock(transaction, user_id)
    assert account is not None
    return account


def fail(transaction: TenantTransaction, account: Account) -> Recorded:
    """One more failure in a row; from the fifth on, each locks for longer. While locked, none is counted."""
    failed = account.failed_in_a_row + (0 if account.locked else 1)
    beyond = failed - FREE_FAILURES
    lock_s = min(_FIRST_LOCK_S * 2 ** min(beyond, 10), _LONGEST_LOCK_S) if beyond >= 0 and not account.locked else None
    transaction.execute(
        "UPDATE auth.accounts SET failed_in_a_row = %(failed)s, version = version + 1, updated_at = now(), "
        "locked_until = coalesce(now() + make_interval(secs => %(lock)s), locked_until) "
        "WHERE tenant_id = %(tenant)s AND user_id = %(user)s",
        {"failed": failed, "lock": lock_s, "tenant": transaction.tenant_id, "user": account.user_id},
    )
    return record(transaction, LOGIN_FAILED, account.user_id, account.version + 1)


def change(transaction: TenantTransaction, account: Account, event_type: EventType) -> Recorded:
    """Something happened to the account that leaves it as it was, but for its version."""
    transaction.execute(
        "UPDATE auth.accounts SET version = version + 1, updated_at = now() WHERE tenant_id = %s AND user_id = %s",
        (transaction.tenant_id, account.user_id),
    )
    return record(transaction, event_type, account.user_id, account.version + 1)


def clear(transaction: TenantTransaction, account: Account) -> None:
    """The person has logged in: what was counted against them counts no more."""
    if account.failed_in_a_row:
        _reset(transaction, account)
        record(transaction, FAILURES_CLEARED, account.user_id, account.version + 1)


def unlock(transaction: TenantTransaction, account: Account) -> Recorded:
    _reset(transaction, account)
    return record(transaction, ACCOUNT_UNLOCKED, account.user_id, account.version + 1)


def has_new_password(transaction: TenantTransaction, account: Account, *, needs_second_factor: bool) -> Recorded:
    transaction.execute(
        "UPDATE auth.accounts SET has_password = true, needs_second_factor = %s, failed_in_a_row = 0, "
        "locked_until = NULL, version = version + 1, updated_at = now() WHERE tenant_id = %s AND user_id = %s",
        (needs_second_factor, transaction.tenant_id, account.user_id),
    )
    return record(transaction, PASSWORD_SET, account.user_id, account.version + 1)


def _reset(transaction: TenantTransaction, account: Account) -> None:
    transaction.execute(
        "UPDATE auth.accounts SET failed_in_a_row = 0, locked_until = NULL, version = version + 1, "
        "updated_at = now() WHERE tenant_id = %s AND user_id = %s",
        (transaction.tenant_id, account.user_id),
    )
