"""Events for rows that have none: those that were there before their table asked for events.

In dependency order: an aggregate type after those that it refers to, a child of a tree after its parent. A batch is a
transaction, ids are made from aggregate and version, and what has its event is passed over: it may be stopped anywhere
and started again.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg import sql

from services.journal.read import Connection, need_every_tenant
from services.journal.services import JOURNALS, Journal
from services.shared.event import Aggregate

# A row whose event is missing, and whose parent's isn't.
_MISSING = """
SELECT state.{key}, state.version FROM {table} AS state
WHERE NOT EXISTS (
    SELECT FROM {events} AS e WHERE e.tenant_id = state.tenant_id AND e.aggregate_type = %(type)s
    AND e.aggregate_id = state.{key} AND e.aggregate_version = state.version
) {after_parent}
ORDER BY state.{key} LIMIT %(limit)s
"""
_AFTER_PARENT = """AND (state.{parent} IS NULL OR EXISTS (
    SELECT FROM {events} AS e WHERE e.tenant_id = state.tenant_id AND e.aggregate_type = %(type)s
    AND e.aggregate_id = state.{parent}
))"""
_INSERT = """
INSERT INTO {events} (
    event_id, tenant_id, aggregate_type, aggregate_id, aggregate_version, event_type, schema_version, after,
    effective_at, occurred_at, actor_type, actor_id, reason, correlation_id, request_id, origin
)
SELECT %(event_id)s, state.tenant_id, %(type)s, state.{key}, state.version, %(event_type)s, %(schema_version)s,
    to_jsonb(state.*), state.{began}, now(), 'system', 'journal.backfill', 'the row was there before its events',
    %(correlation_id)s, %(request_id)s, 'backfill'
FROM {table} AS state WHERE state.{key} = %(id)s AND state.version = %(version)s
ON CONFLICT DO NOTHING
"""
_PARENTS = {"organisation": "parent_id"}
_BEGAN = {"factor": "enrolled_at", "session": "started_at", "grant": "granted_at", "upstream_link": "linked_at"}


def backfill(dsn: str, *, batch_rows: int = 1_000, tell: Callable[[str, int], None]) -> dict[str, int]:
    """Aggregate type → events written. ``tell`` hears of every batch. Raises StartupError, psycopg.Error."""
    correlation_id = uuid4()
    with psycopg.connect(dsn, autocommit=True, application_name="services.journal") as connection:
        need_every_tenant(connection)
        written: dict[str, int] = {}
        for journal in JOURNALS:
            for aggregate in journal.aggregates:
                while count := _batch(connection, journal, aggregate, batch_rows, correlation_id):
                    written[aggregate.type] = written.get(aggregate.type, 0) + count
                    tell(aggregate.type, count)
        return written


def _batch(
    connection: Connection,
    journal: Journal,
    aggregate: Aggregate,
    rows: int,
    correlation_id: UUID,
) -> int:
    names = {
        "key": sql.Identifier(aggregate.key),
        "table": sql.Identifier(aggregate.schema, aggregate.table),
        "events": sql.Identifier(aggregate.schema, "events"),
        "began": sql.Identifier(_BEGAN.get(aggregate.type, "created_at")),
    }
    parent = _PARENTS.get(aggregate.type)
    after_parent = sql.SQL(_AFTER_PARENT).format(parent=sql.Identifier(parent), **names) if parent else sql.SQL("")
    with connection.transaction():
        missing = connection.execute(
            sql.SQL(_MISSING).format(after_parent=after_parent, **names), {"type": aggregate.type, "limit": rows}
        ).fetchall()
        with connection.cursor() as cursor:
            cursor.executemany(
                sql.SQL(_INSERT).format(**names),
                [
                    {
                        "event_id": uuid5(id, f"{aggregate.type}/{version}"),
                        "type": aggregate.type,
                        "event_type": f"{aggregate.type}.backfilled",
                        "schema_version": journal.version_of(aggregate),
                        "id": id,
                        "version": version,
                        "correlation_id": correlation_id,
                        "request_id": f"backfill-{correlation_id}",
                    }
                    for id, version in missing
                ],
            )
    return len(missing)
