"""The labels of enums that published tables are made of: rows hold a label's number, and show whatever it is called."""

from __future__ import annotations

from cdc.catalogue import PARTS_OF_A_TYPE
from cdc.source import Connection, rows

# Of every enum that a published column is made of: by itself, or within a domain, an array, a composite or a range.
# What initdb has made has no labels: types of its own begin at 16384.
_LABELS = f"""
    WITH RECURSIVE listed AS (
        SELECT c.oid, to_jsonb(p) -> 'attnames' AS columns
        FROM pg_publication_tables p
        JOIN pg_namespace n ON n.nspname = p.schemaname
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
        WHERE p.pubname = %s AND EXISTS (SELECT FROM pg_enum)
    ), wanted (holder, oid) AS (
        SELECT t.oid, a.atttypid
        FROM listed t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.atttypid >= 16384 AND (jsonb_typeof(t.columns) IS DISTINCT FROM 'array' OR t.columns ? a.attname)
        UNION
        SELECT wanted.holder, part.oid
        FROM wanted JOIN pg_type t ON t.oid = wanted.oid
        CROSS JOIN LATERAL ({PARTS_OF_A_TYPE}) AS part (oid)
        WHERE part.oid >= 16384
    )
    SELECT wanted.holder::int8, e.oid::int8, e.enumlabel::text
    FROM wanted JOIN pg_enum e ON e.enumtypid = wanted.oid
"""  # noqa: S608 (our own text)


def enum_labels(connection: Connection, publication: str) -> dict[int, dict[int, str]]:
    """By the table's oid, then by the label's own, which it keeps when it is renamed."""
    labels: dict[int, dict[int, str]] = {}
    for table, oid, label in rows(connection, _LABELS, publication):
        labels.setdefault(int(str(table)), {})[int(str(oid))] = str(label)
    return labels
