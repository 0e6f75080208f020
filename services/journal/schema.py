"""The JSON schema of a table's row as ``to_jsonb`` writes it: what a new schema version of an aggregate begins with."""

from __future__ import annotations

from typing import Any

from services.journal.read import Connection
from services.shared.event import Aggregate

_TYPES: dict[str, dict[str, Any]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "text": {"type": "string"},
    "character varying": {"type": "string"},
    "date": {"type": "string", "format": "date"},
    "timestamp with time zone": {"type": "string", "format": "date-time"},
    "boolean": {"type": "boolean"},
    "smallint": {"type": "integer"},
    "integer": {"type": "integer"},
    "bigint": {"type": "integer"},
    "numeric": {"type": "number"},
    "jsonb": {"type": "object"},
    "ARRAY": {"type": "array", "items": {"type": "string"}},
}


def schema_of(connection: Connection, aggregate: Aggregate, version: int) -> dict[str, Any]:
    """Every column is required and no other is allowed. Raises KeyError for a type that no event has carried yet."""
    columns = connection.execute(
        "SELECT column_name, data_type, is_nullable = 'YES' FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        (aggregate.schema, aggregate.table),
    ).fetchall()
    properties = {}
    for name, kind, nullable in columns:
        told = dict(_TYPES[kind])
        properties[name] = {**told, "type": [told["type"], "null"]} if nullable else told
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:rireki:state:{aggregate.schema}.{aggregate.type}:{version}",
        "title": f"{aggregate.schema}.{aggregate.table} after an event, version {version}",
        "type": "object",
        "properties": properties,
        "required": [name for name, _, _ in columns],
        "additionalProperties": False,
    }
