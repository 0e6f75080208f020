"""Binding a tenant by hand, as a service's door does it."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

import psycopg

from services.shared.proof import ContextKey

PASSWORD = "a service's password in tests"
_ADMIN = ContextKey.of("admin", "in tests")


@cache
def key_of(role: str) -> ContextKey:
    return ContextKey.of(role, PASSWORD)


def bind(connection: psycopg.Connection[Any], tenant: str | None) -> None:
    """For this transaction. An administrator has no key: one is told to the database, for this transaction too."""
    role = connection.info.user
    key = key_of(role)
    if role not in ("directory", "asset", "auth"):
        key = ContextKey(role, _ADMIN.key)
        connection.execute(
            "INSERT INTO rls.context_keys (role, inner_key, outer_key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (role, *key.padded),
        )
    proof = key.prove(connection.info.backend_pid, UUID(tenant)) if tenant else ""
    connection.execute(
        "SELECT set_config('app.tenant_id', %s, true), set_config('app.tenant_proof', %s, true)", (tenant or "", proof)
    )
