"""Transactions that no single call makes: a bulk import, and one that stays open while others commit.

Through the service's own door and commands, so state, events, who and why are those of any other command. What a
transaction writes is there for everybody at its commit, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from uuid import UUID, uuid5

from services.directory.commands import users
from services.shared.context import Context
from services.shared.transaction import Database, TenantTransaction
from services.workload import names


class _Undone(Exception):
    pass


@contextmanager
def directory(dsn: str) -> Iterator[Database]:
    """Raises StartupError."""
    database = Database(dsn, max_connections=2, name="services.workload")
    database.open()
    try:
        yield database
    finally:
        database.close()


def bulk(database: Database, tenant: UUID, seed: int, people: int) -> list[UUID]:
    """So many people invited in one transaction, as from a file. The same seed makes the same people, once."""
    context = _context(tenant, f"bulk-{seed}", "CSV取込")
    random = Random(f"{seed}/bulk")
    with database.tenant_transaction(context) as transaction:
        return [_invite(transaction, random, f"bulk-{seed}-{number}") for number in range(people)]


def long_open(
    database: Database, tenant: UUID, seed: int, meanwhile: Callable[[], None], *, roll_back: bool = False
) -> list[UUID]:
    """One person before ``meanwhile`` and one after it, in one transaction that is open all the while."""
    context = _context(tenant, f"long-{seed}", "長時間処理")
    random = Random(f"{seed}/long")
    invited: list[UUID] = []
    try:
        with database.tenant_transaction(context) as transaction:
            invited.append(_invite(transaction, random, f"long-{seed}-before"))
            meanwhile()
            invited.append(_invite(transaction, random, f"long-{seed}-after"))
            if roll_back:
                raise _Undone
    except _Undone:
        return []
    return invited


def _invite(transaction: TenantTransaction, random: Random, mark: str) -> UUID:
    named = names.person(random)
    id = uuid5(transaction.tenant_id, mark)
    body = users.InviteUser(name=named.name, kana=named.kana, email=f"{mark}@import.example", is_pharmacist=False)
    users.invite(transaction, id, body)
    return id


def _context(tenant: UUID, mark: str, reason: str) -> Context:
    return Context(tenant, "system", "system:import", f"req-{mark}", uuid5(tenant, mark), reason=reason)
