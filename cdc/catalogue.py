"""What the source's catalogue says of published tables: types, keys, column lists, row filters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cdc.errors import PublicationMissing
from cdc.protocol import RelationColumn, RelationMessage
from cdc.relation import Column, Relation, ReplicaIdentity, TableName
from cdc.source import Connection, connect, explained, rows
from cdc.types import LakeType, PgType, lake_type

# What a type ``t`` is made of: a domain's base, an array's elements, a range's bounds, a composite's members.
PARTS_OF_A_TYPE = """
            SELECT t.typbasetype WHERE t.typtype = 'd'
            UNION ALL SELECT t.typelem WHERE t.typelem <> 0
            UNION ALL SELECT rngsubtype FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)
            UNION ALL SELECT atttypid FROM pg_attribute
                      WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
"""

# These types, and whatever they are made of.
_TYPES = f"""
    WITH RECURSIVE wanted (oid) AS (
        SELECT unnest(%s::int8[])::oid
        UNION
        SELECT part.oid
        FROM wanted JOIN pg_type t ON t.oid = wanted.oid
        CROSS JOIN LATERAL ({PARTS_OF_A_TYPE}) AS part (oid)
    )
    SELECT t.oid::int8, n.nspname::text, t.typname::text, t.typtype::text, t.typbasetype::int8, t.typtypmod,
           CASE WHEN t.typoutput = 'pg_catalog.array_out'::regproc THEN t.typelem::int8 ELSE 0 END,
           coalesce((SELECT e.typdelim::text FROM pg_type e WHERE e.oid = t.typelem), ','),
           coalesce((SELECT rngsubtype::int8 FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)), 0),
           ARRAY(SELECT atttypid::int8 FROM pg_attribute
                 WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
           coalesce((SELECT proname::text FROM pg_proc p
                     WHERE p.oid = t.typsend AND p.pronamespace = 'pg_catalog'::regnamespace), '')
    FROM wanted JOIN pg_type t ON t.oid = wanted.oid JOIN pg_namespace n ON n.oid = t.typnamespace
"""  # noqa: S608 (our own text)

_PUBLISHED_TYPES = """
    SELECT DISTINCT a.atttypid::int8
    FROM pg_publication_tables p
    JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE p.pubname = %s
"""

_PRIMARY_KEY = """
    SELECT a.attname::text
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = %s::int8::oid AND i.indisprimary
"""

# to_jsonb lets one query serve servers that don't have the column list and the row filter yet (before 15).
_PUBLISHED = """
    SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relreplident::text,
           to_jsonb(p) -> 'attnames', to_jsonb(p) ->> 'rowfilter', i.indrelid IS NOT NULL
    FROM pg_publication_tables p
    JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
    WHERE p.pubname = %s
    ORDER BY 2, 3
"""

_COLUMNS = """
    SELECT a.attname::text, a.atttypid::int8, a.atttypmod,
           coalesce(a.attnum = ANY (i.indkey), false)
    FROM pg_attribute a
    LEFT JOIN pg_index i ON i.indrelid = a.attrelid
         AND CASE WHEN %s = 'i' THEN i.indisreplident ELSE i.indisprimary END
    WHERE a.attrelid = %s::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table with what its publication lets through."""

    relation: Relation
    row_filter: str | None  # an SQL condition


class _Types(dict[int, PgType]):
    """Types by oid; one that isn't known yet is looked up. Raises KeyError for one that the source doesn't have."""

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn

    def __missing__(self, oid: int) -> PgType:
        with explained(self._dsn), connect(self._dsn) as connection:
            self.load(connection, [oid])
        if oid not in self:
            raise KeyError(oid)
        return self[oid]

    def load(self, connection: Connection, oids: Iterable[int]) -> None:
        for row in rows(connection, _TYPES, [oid for oid in oids if oid not in self]):
            oid, schema, name, kind, base, modifier, element, delimiter, subtype, members, send = row
            self[int(str(oid))] = PgType(
                int(str(oid)),
                str(schema),
                str(name),
                str(kind),
                int(str(base)),
                int(str(modifier)),
                int(str(element)),
                str(delimiter),
                int(str(subtype)),
                tuple(members) if isinstance(members, list) else (),
                str(send),
            )


class Catalogue:
    """Looks types and keys up in the source, and keeps them."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._types = _Types(dsn)

    def describe(self, message: RelationMessage) -> Relation:
        """A streamed relation with its lake types and its key. Raises TypeNotSupported, naming the column."""
        if any(column.type_oid not in self._types for column in message.columns):
            with connect(self._dsn) as connection:
                self._types.load(connection, (column.type_oid for column in message.columns))
        key = {column.name for column in message.columns if column.flagged_key}
        if message.identity is ReplicaIdentity.FULL:
            # FULL flags every column; a row is still found by its primary key where there is one.
            with connect(self._dsn) as connection:
                primary = {str(name) for (name,) in rows(connection, _PRIMARY_KEY, message.oid)}
            published = {column.name for column in message.columns}
            key = primary if primary <= published else set()
        return self._relation(message.oid, message.name, message.identity, message.columns, key)

    def published(self, publication: str) -> list[PublishedTable]:
        """Every table of a publication, by name. Raises PublicationMissing and TypeNotSupported."""
        with explained(self._dsn, publication=publication), connect(self._dsn) as connection:
            if not rows(connection, "SELECT 1 FROM pg_publication WHERE pubname = %s", publication):
                raise PublicationMissing("there is no such publication", subject=f"publication {publication}")
            return self.listed(connection, publication)

    def listed(self, connection: Connection, publication: str) -> list[PublishedTable]:
        """The same on the caller's connection: ``init`` asks inside the transaction that makes the publication."""
        self._types.load(connection, [int(str(oid)) for (oid,) in rows(connection, _PUBLISHED_TYPES, publication)])
        return [self._published(connection, row) for row in rows(connection, _PUBLISHED, publication)]

    def _published(self, connection: Connection, row: tuple[object, ...]) -> PublishedTable:
        oid, schema, table, replident, listed, row_filter, _ = row
        identity = ReplicaIdentity(str(replident))
        found = [
            RelationColumn(str(name), int(str(type_oid)), int(str(modifier)), bool(in_key))
            for name, type_oid, modifier, in_key in rows(connection, _COLUMNS, replident, oid)
            if not isinstance(listed, list) or name in listed
        ]
        key = (
            {column.name for column in found if column.flagged_key}
            if identity is not ReplicaIdentity.NOTHING
            else set()
        )
        name = TableName(str(schema), str(table))
        relation = self._relation(int(str(oid)), name, identity, found, key)
        return PublishedTable(relation, None if row_filter is None else str(row_filter))

    def _relation(
        self, oid: int, name: TableName, identity: ReplicaIdentity, columns: Iterable[RelationColumn], key: set[str]
    ) -> Relation:
        return Relation(
            name,
            oid,
            identity,
            tuple(
                Column(
                    c.name,
                    c.type_oid,
                    c.type_modifier,
                    self.lake_type(c.type_oid, c.type_modifier, f"{name}.{c.name}").arrow,
                    c.name in key,
                )
                for c in columns
            ),
        )

    def lake_type(self, oid: int, modifier: int, column: str) -> LakeType:
        return lake_type(oid, modifier, self._types, column=column)

    def only_as_text(self, tables: Iterable[PublishedTable]) -> list[str]:
        """Their columns, as ``schema.table.column``, whose binary form only PostgreSQL can read.

        None: a binary session carries these tables.
        """
        return [
            f"{table.relation.name}.{column.name}"
            for table in tables
            for column in table.relation.columns
            if self.lake_type(column.type_oid, column.type_modifier, column.name).needs_text
        ]
