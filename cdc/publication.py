"""The publication: what is read. It lists its tables one by one, so that no new table is swept in unseen.

``FOR ALL TABLES`` and ``FOR TABLES IN SCHEMA`` are never used: both would publish a table of secrets the day it is
made. A pattern such as ``directory.*`` is expanded through the catalogue once, when the publication is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import errors, sql

from cdc.errors import PrivilegeMissing, TableNotPublished
from cdc.relation import ReplicaIdentity, TableName
from cdc.source import Connection, rows

# A partition is left out where its root is meant: the publication names the root (publish_via_partition_root).
_PUBLISHABLE: LiteralString = """
SELECT n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 1, 2
"""

_PUBLISHED: LiteralString = """
SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = %s ORDER BY 1, 2
"""

_STANDING: LiteralString = """
SELECT n.nspname::text, c.relname::text, c.relreplident::text,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid
               AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident
                                       WHEN 'f' THEN i.indisprimary ELSE false END),
       has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'),
       c.relrowsecurity AND row_security_active(c.oid)
FROM pg_publication_tables p
JOIN pg_namespace n ON n.nspname = p.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
WHERE p.pubname = %s ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class TableStanding:
    """What the connected role may do with one published table, and what the server logs for it."""

    name: TableName
    identity: ReplicaIdentity
    has_key: bool  # an index that the replica identity uses (for FULL: a primary key)
    may_select: bool
    rows_filtered: bool  # a row-security policy applies to this role and would hide rows from the copy

    @property
    def logs_old_rows(self) -> bool:
        """False: an UPDATE or DELETE raises in the source as soon as the table is published."""
        return self.identity is ReplicaIdentity.FULL or (self.identity is not ReplicaIdentity.NOTHING and self.has_key)


def publication_exists(connection: Connection, publication: str) -> bool:
    return bool(rows(connection, "SELECT 1 FROM pg_publication WHERE pubname = %s", publication))


def published_tables(connection: Connection, publication: str) -> tuple[TableName, ...]:
    """By name; roots where the publication publishes through them, leaves otherwise. Empty for an unknown one."""
    return _names(rows(connection, _PUBLISHED, publication))


def table_standings(connection: Connection, publication: str) -> tuple[TableStanding, ...]:
    """One per published table, by name, as the connected role sees it."""
    return tuple(
        TableStanding(
            name=TableName(str(schema), str(table)),
            identity=ReplicaIdentity(str(identity)),
            has_key=bool(has_key),
            may_select=bool(may_select),
            rows_filtered=bool(rows_filtered),
        )
        for schema, table, identity, has_key, may_select, rows_filtered in rows(connection, _STANDING, publication)
    )


def matching_tables(connection: Connection, pattern: str) -> tuple[TableName, ...]:
    """Expand ``schema.table``, where ``*`` and ``?`` stand for any characters, as the catalogue is now.

    Tables that can be published at all: permanent ones, partitioned ones by their root; none of PostgreSQL's own.
    Raises ValueError for a pattern without a dot.
    """
    wanted = TableName.parse(pattern)
    every = _names(rows(connection, _PUBLISHABLE))
    return tuple(name for name in every if _like(name.schema, wanted.schema) and _like(name.table, wanted.table))


def create_publication(connection: Connection, publication: str, tables: Sequence[TableName]) -> None:
    """Create it for exactly these tables. Raises PrivilegeMissing with the statement for an owner to run."""
    statement = creation_statement(publication, tables)
    try:
        connection.execute(statement)
    except errors.InsufficientPrivilege as error:
        raise PrivilegeMissing(
            f"can't create it: {error.diag.message_primary}",
            subject=f"publication {publication}",
            fix=f"as the tables' owner: {statement.as_string()}; then: rireki init --no-publication …",
        ) from error


def creation_statement(publication: str, tables: Iterable[TableName]) -> sql.Composed:
    # Through the root: otherwise a partition attached later is neither copied nor followed.
    return sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)").format(
        sql.Identifier(publication), _listed(tables)
    )


def require_published(connection: Connection, publication: str, tables: Sequence[TableName]) -> None:
    """Raises TableNotPublished, naming every table that the publication lacks and the ALTER that adds them."""
    missing = sorted(set(tables) - set(published_tables(connection, publication)))
    if missing:
        statement = sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(sql.Identifier(publication), _listed(missing))
        raise TableNotPublished(
            f"the existing publication {publication} doesn't list it",
            subject=", ".join(map(str, missing)),
            fix=f"{statement.as_string()}; then the same command again",
        )


def _names(found: Iterable[tuple[object, ...]]) -> tuple[TableName, ...]:
    return tuple(TableName(str(schema), str(table)) for schema, table in found)


def _listed(tables: Iterable[TableName]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name.schema, name.table) for name in tables)


def _like(name: str, pattern: str) -> bool:
    # Not fnmatch: its brackets are legal characters of a table's name.
    wildcards = {"*": ".*", "?": "."}
    return re.fullmatch("".join(wildcards.get(c, re.escape(c)) for c in pattern), name, re.DOTALL) is not None
