"""Events and state out of the database, streamed, in one order: tenant-less, by aggregate id and version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from services.journal.fold import Event, State
from services.shared.errors import StartupError
from services.shared.event import Aggregate

Connection = psycopg.Connection[tuple[Any, ...]]
_CHUNK_ROWS = 5_000


@contextmanager
def snapshot(dsn: str) -> Iterator[Connection]:
    """One moment of every tenant. Raises StartupError for a role that row security binds: it would see nothing."""
    with psycopg.connect(dsn, application_name="services.journal") as connection:
        need_every_tenant(connection)
        connection.rollback()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection


def need_every_tenant(connection: Connection) -> None:
    role = connection.execute(
        "SELECT rolname::text, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if role is None or not role[1]:
        raise StartupError(
            "row security binds it, so it would see no tenant's events",
            subject=f"role {role and role[0]}",
            fix="log in as the administrator who migrates",
        )


def events(connection: Connection, aggregate: Aggregate, aggregate_id: UUID | None = None) -> Iterator[Event]:
    """Of all aggregates of a type, or of one."""
    with connection.cursor(f"events_of_{aggregate.type}") as cursor:
        cursor.itersize = _CHUNK_ROWS
        cursor.execute(
            sql.SQL(
                "SELECT aggregate_type, aggregate_id, aggregate_version, schema_version, after, effective_at, "
                "recorded_at FROM {} WHERE aggregate_type = %(type)s "
                "AND (%(id)s::uuid IS NULL OR aggregate_id = %(id)s) ORDER BY aggregate_id, aggregate_version"
            ).format(sql.Identifier(aggregate.schema, "events")),
            {"type": aggregate.type, "id": aggregate_id},
        )
        for row in cursor:
            yield Event(*row)


def states(connection: Connection, aggregate: Aggregate) -> Iterator[tuple[UUID, State]]:
    """Every row of the aggregate's table, by id."""
    with connection.cursor(f"states_of_{aggregate.type}") as cursor:
        cursor.itersize = _CHUNK_ROWS
        cursor.execute(
            sql.SQL("SELECT {key}, to_jsonb(state.*) FROM {table} AS state ORDER BY {key}").format(
                key=sql.Identifier(aggregate.key), table=sql.Identifier(aggregate.schema, aggregate.table)
            )
        )
        yield from cursor
