"""A domain event, written from the state that it describes and in the same transaction.

``after`` is the row as the database has it, and ``changed`` its difference to the event before: neither is told by
the program, so neither can differ from the state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from psycopg import sql

from services.shared.transaction import TenantTransaction


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Where an aggregate's state lives: one row with ``version`` in ``schema.table``, found by ``key``."""

    type: str
    schema: str
    table: str
    key: str = "id"


@dataclass(frozen=True, slots=True)
class EventType:
    """A kind of event and the shape of its ``after``: a differing row is refused, so that readers may rely on it.

    ``since`` is the version at which it was first written; later versions are reached by upcasters.
    """

    name: str
    schema_version: int
    aggregate: Aggregate
    fields: frozenset[str]
    since: int = 1

    @classmethod
    def of(cls, states: Path, name: str, version: int, aggregate: Aggregate, *, since: int = 1) -> EventType:
        """With the fields that ``<states>/<aggregate>.v<version>.json`` requires, a JSON schema of the row."""
        schema = json.loads((states / f"{aggregate.type}.v{version}.json").read_text("utf-8"))
        return cls(name, version, aggregate, frozenset(schema["required"]), since)


Upcaster = Callable[[Mapping[str, Any]], dict[str, Any]]
"""A state of one schema version → the same in the next. Pure."""


@dataclass(frozen=True, slots=True)
class Recorded:
    event_id: UUID
    event_type: str
    aggregate_id: UUID
    aggregate_version: int
    recorded_at: datetime
    after: dict[str, Any]


class UndeclaredState(RuntimeError):
    """The table has other columns than the event's schema version says: declare a new version."""


# state.*, not state: a table may have a column of that name.
_INSERT = """
INSERT INTO {events} (
    event_id, tenant_id, aggregate_type, aggregate_id, aggregate_version, event_type, schema_version,
    after, changed, effective_at, occurred_at,
    actor_type, actor_id, on_behalf_of, reason, correlation_id, causation_id, request_id
)
SELECT
    %(event_id)s, state.tenant_id, %(aggregate_type)s, state.{key}, state.version, %(event_type)s, %(schema_version)s,
    to_jsonb(state.*),
    (
        SELECT jsonb_object_agg(n.key, jsonb_build_object('from', before.after -> n.key, 'to', n.value))
        FROM jsonb_each(to_jsonb(state.*)) AS n
        WHERE before.after IS NOT NULL
        -- A column that an earlier schema version didn't have was NULL.
        AND n.value IS DISTINCT FROM coalesce(before.after -> n.key, 'null')
    ),
    coalesce(%(effective_at)s, now()), now(),
    %(actor_type)s, %(actor_id)s, %(on_behalf_of)s, %(reason)s, %(correlation_id)s, %(causation_id)s, %(request_id)s
FROM {state} AS state
LEFT JOIN {events} AS before
    ON before.tenant_id = state.tenant_id AND before.aggregate_type = %(aggregate_type)s
    AND before.aggregate_id = state.{key} AND before.aggregate_version = state.version - 1
WHERE state.tenant_id = %(tenant_id)s AND state.{key} = %(aggregate_id)s AND state.version = %(version)s
RETURNING event_id, event_type, aggregate_id, aggregate_version, recorded_at, after
"""


def record(
    transaction: TenantTransaction,
    event_type: EventType,
    aggregate_id: UUID,
    version: int,
    *,
    effective_at: datetime | None = None,
) -> Recorded:
    """Append the event of a state change that this transaction has just made.

    Raises UndeclaredState when the row's columns are not those that the event type declares.
    """
    aggregate = event_type.aggregate
    context = transaction.context
    transaction.announce()
    row = transaction.row(
        sql.SQL(_INSERT).format(
            events=sql.Identifier(aggregate.schema, "events"),
            state=sql.Identifier(aggregate.schema, aggregate.table),
            key=sql.Identifier(aggregate.key),
        ),
        {
            "event_id": uuid5(aggregate_id, f"{aggregate.type}/{version}"),
            "tenant_id": context.tenant_id,
            "aggregate_type": aggregate.type,
            "aggregate_id": aggregate_id,
            "version": version,
            "event_type": event_type.name,
            "schema_version": event_type.schema_version,
            "effective_at": effective_at or context.effective_at,
            "actor_type": context.actor_type,
            "actor_id": context.actor_id,
            "on_behalf_of": context.on_behalf_of,
            "reason": context.reason,
            "correlation_id": context.correlation_id,
            "causation_id": context.causation_id,
            "request_id": context.request_id,
        },
    )
    if row is None:
        raise LookupError(f"no {aggregate.type} {aggregate_id} at version {version} to record")
    if frozenset(row["after"]) != event_type.fields:
        raise UndeclaredState(
            f"{event_type.name} v{event_type.schema_version}: {sorted(frozenset(row['after']) ^ event_type.fields)}"
        )
    return Recorded(**row)
