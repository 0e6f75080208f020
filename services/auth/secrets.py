"""Stepping into the role that may touch credentials, and out again; and the secret part of an event."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

from services.auth.vault import SubjectKey, Unreadable, Vault
from services.shared.event import Recorded
from services.shared.transaction import TenantTransaction


@contextmanager
def among_secrets(transaction: TenantTransaction) -> Iterator[None]:
    """Statements inside run as ``auth_secrets``, which sees credentials and nothing else."""
    transaction.execute("SET LOCAL ROLE auth_secrets")
    yield
    # Not in a finally: after an error the transaction is over anyway, and takes its role with it.
    transaction.execute("SET LOCAL ROLE NONE")


def keep_apart(
    transaction: TenantTransaction, vault: Vault, event: Recorded, subject_id: UUID, told: Mapping[str, str | None]
) -> None:
    """Keep what only auth may know of an event, under the key of the person whom it is about."""
    with among_secrets(transaction):
        key = _subject_key(transaction, vault, subject_id)
        transaction.execute(
            "INSERT INTO auth.event_secrets (event_id, tenant_id, subject_id, sealed) VALUES (%s, %s, %s, %s)",
            (
                event.event_id,
                transaction.tenant_id,
                subject_id,
                key.seal(json.dumps(told, ensure_ascii=False).encode(), event.event_id),
            ),
        )


def read_apart(transaction: TenantTransaction, vault: Vault, event_id: UUID) -> dict[str, str | None] | None:
    """None when there is nothing, or when the person's key was shredded."""
    with among_secrets(transaction):
        row = transaction.row(
            "SELECT e.sealed, e.subject_id, k.sealed AS key FROM auth.event_secrets AS e "
            "LEFT JOIN auth.subject_keys AS k ON k.tenant_id = e.tenant_id AND k.subject_id = e.subject_id "
            "WHERE e.tenant_id = %s AND e.event_id = %s",
            (transaction.tenant_id, event_id),
        )
    if row is None or row["key"] is None:
        return None
    key = SubjectKey(vault.unseal("subject-key", row["key"], str(row["subject_id"])))
    try:
        told: dict[str, str | None] = json.loads(key.unseal(row["sealed"], event_id))
    except Unreadable:  # sealed under a key that was shredded; the person has come back since
        return None
    return told


def shred(transaction: TenantTransaction, subject_id: UUID) -> bool:
    """Delete a person's key, and with it all that was sealed under it. Whether there was one."""
    with among_secrets(transaction):
        touched = transaction.execute(
            "DELETE FROM auth.subject_keys WHERE tenant_id = %s AND subject_id = %s",
            (transaction.tenant_id, subject_id),
        )
    return touched > 0


def _subject_key(transaction: TenantTransaction, vault: Vault, subject_id: UUID) -> SubjectKey:
    query = "SELECT sealed FROM auth.subject_keys WHERE tenant_id = %s AND subject_id = %s"
    row = transaction.row(query, (transaction.tenant_id, subject_id))
    if row is None:
        transaction.execute(
            "INSERT INTO auth.subject_keys (tenant_id, subject_id, sealed) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (transaction.tenant_id, subject_id, vault.seal("subject-key", SubjectKey.generate(), str(subject_id))),
        )
        row = transaction.row(query, (transaction.tenant_id, subject_id))
        assert row is not None
    return SubjectKey(vault.unseal("subject-key", row["sealed"], str(subject_id)))
