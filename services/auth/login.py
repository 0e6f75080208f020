"""From an address and a password to a person, and from a person who has proved enough to a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.auth import accounts, credentials, factors, passwords, people, sessions
from services.auth.events import LOGIN_SUCCEEDED, SESSION_RENEWED
from services.auth.handle import Handle
from services.auth.parts import Parts, Seen
from services.auth.people import Person
from services.auth.secrets import keep_apart
from services.auth.sessions import Session
from services.shared.transaction import TenantTransaction

_LONGEST_ADDRESS = 254


def with_password(parts: Parts, seen: Seen, correlation_id: UUID, address: str, password: str) -> list[Person]:
    """Whoever this address and this password are, in every tenant that knows them; nobody, if they are wrong.

    Takes as long for an address that nobody has. A failure counts against each account that has the address, unless the
    password is right for one of them: then the others are the same person's in another tenant.
    """
    address = address.strip().lower()[:_LONGEST_ADDRESS]
    with parts.database.tenant_reading(seen.nobody()) as reading:
        candidates = people.login_candidates(reading, "email", address) if "\x00" not in address else []
    found: list[Person] = []
    failed: list[tuple[UUID, UUID]] = []
    for tenant_id, user_id in candidates:
        with parts.database.tenant_reading(seen.person(tenant_id, user_id)) as reading:
            person = people.find(reading, user_id)
            account = accounts.find(reading, user_id)
            kept = credentials.password_hash(reading, user_id)
        # Outside of any transaction: it is slow on purpose.
        correct = passwords.matches(password, kept)
        if correct and person and person.may_log_in and account and not account.locked:
            found.append(person)
            if kept is not None and passwords.outdated(kept):
                _hash_anew(parts, seen, person, password, kept)
        elif account is not None:
            failed.append((tenant_id, user_id))
    if not candidates:
        passwords.matches(password, None)
    if not found:
        for tenant_id, user_id in failed:
            count_failure(parts, seen, correlation_id, tenant_id, user_id, typed=address, how="password")
    return found


def _hash_anew(parts: Parts, seen: Seen, person: Person, password: str, kept: str) -> None:
    """At today's cost: only now is the password at hand. Passed over when it was changed in between."""
    hash = passwords.hashed(password)
    with parts.database.tenant_transaction(seen.person(person.tenant_id, person.user_id)) as transaction:
        if credentials.password_hash(transaction, person.user_id) == kept:
            credentials.keep_password(transaction, person.user_id, hash)


def count_failure(
    parts: Parts, seen: Seen, correlation_id: UUID, tenant_id: UUID, user_id: UUID, *, typed: str | None, how: str
) -> None:
    with parts.database.tenant_transaction(seen.person(tenant_id, user_id, correlation_id)) as transaction:
        account = accounts.lock(transaction, user_id)
        if account is not None:
            failed = accounts.fail(transaction, account)
            keep_apart(transaction, parts.vault, failed, user_id, seen.told(typed=typed, how=how))


@dataclass(frozen=True, slots=True)
class LoggedIn:
    session: Session
    handle: Handle


def finish(
    parts: Parts,
    seen: Seen,
    transaction: TenantTransaction,
    user_id: UUID,
    amr: Sequence[str],
    *,
    upstream_id: UUID | None = None,
    renews: Session | None = None,
) -> LoggedIn | None:
    """Start the session, or prove the browser's own anew.

    None when the person may no longer log in, the account was locked meanwhile, a second factor is missing, or this
    login (the transaction's correlation id) has ended in a session before: it is good for one.
    """
    account = accounts.lock(transaction, user_id)
    person = people.find(transaction, user_id)
    if account is None or account.locked or person is None or not person.may_log_in:
        return None
    if "mfa" not in amr and factors.standing(factors.of_user(transaction, user_id)):
        return None
    if _has_ended(transaction):
        return None
    accounts.clear(transaction, account)
    acr = sessions.TWO_FACTORS if "mfa" in amr else sessions.ONE_FACTOR
    if renews is not None:
        renewed = sessions.renew(transaction, renews, amr=amr, acr=acr)
        if renewed is None:
            return None
        id, (handle, event) = renews.id, renewed
    else:
        id, handle, event = sessions.start(
            transaction, user_id, amr=amr, acr=acr, length=parts.settings.session_length, upstream_id=upstream_id
        )
    keep_apart(transaction, parts.vault, event, user_id, seen.told())
    session = sessions.find(transaction, id, parts.settings.session_idle)
    assert session is not None
    return LoggedIn(session, handle)


def _has_ended(transaction: TenantTransaction) -> bool:
    ends = [LOGIN_SUCCEEDED.name, SESSION_RENEWED.name]
    return (
        transaction.row(
            "SELECT 1 AS found FROM auth.events WHERE tenant_id = %s AND correlation_id = %s AND event_type = ANY(%s)",
            (transaction.tenant_id, transaction.context.correlation_id, ends),
        )
        is not None
    )
