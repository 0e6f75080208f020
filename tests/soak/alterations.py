"""Tables change under the authors' hands: columns, types, identities, and what the publication lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from tests.soak.kinds import KINDS, Kind
from tests.soak.tables import Column, Table

_NAMES = ("v", "Name", "値", "order", "new", "後", "x", "extra")
_TEXT = next(kind for kind in KINDS if kind.sql == "text")


class Alterations:
    """``tables`` is brought up to date as statements succeed. A table that somebody has locked is left for later."""

    def __init__(
        self, connection: psycopg.Connection[tuple[Any, ...]], publication: str, tables: list[Table], r: Random
    ) -> None:
        self._connection, self._publication, self._tables, self._random = connection, publication, tables, r

    def step(self) -> str | None:
        """Do one; what it was, None if it couldn't be done."""
        r = self._random
        at = r.randrange(len(self._tables))
        ways: tuple[Callable[[Table], Table | None], ...] = (
            self._add,
            self._add,
            self._drop,
            self._rename,
            self._drop_and_add,
            self._to_text,
            self._write_anew,
            self._leave_and_come_back,
        )
        way = r.choice(ways)
        try:
            changed = way(self._tables[at])
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DataError):
            return None
        if changed is None:
            return None
        self._tables[at] = changed
        return way.__name__.strip("_").replace("_", " ")

    def _add(self, table: Table) -> Table | None:
        free = [name for name in _NAMES if name not in {column.name for column in table.columns}]
        if not free or len(table.others) > 6:
            return None
        column = Column(self._random.choice(free), self._random.choice(KINDS))
        value = column.kind.value(self._random) if self._random.random() < 0.5 else None
        self._do(table, self._adding(column), value)
        return replace(table, others=(*table.others, column))

    def _drop(self, table: Table) -> Table | None:
        if len(table.others) < 2:
            return None
        column = self._random.choice(table.others)
        self._do(table, sql.SQL("DROP {}").format(column.quoted))
        return replace(table, others=tuple(one for one in table.others if one != column))

    def _rename(self, table: Table) -> Table | None:
        free = [name for name in _NAMES if name not in {column.name for column in table.columns}]
        if not free:
            return None
        column, name = self._random.choice(table.others), self._random.choice(free)
        self._do(table, sql.SQL("RENAME {} TO {}").format(column.quoted, sql.Identifier(name)))
        return self._with(table, column, replace(column, name=name))

    def _drop_and_add(self, table: Table) -> Table | None:
        """Under the same name, and at once: no row shows it."""
        column = self._random.choice(table.others)
        parts = sql.SQL("DROP {}, {}").format(column.quoted, self._adding(column))
        self._do(table, parts, column.kind.value(self._random) if self._random.random() < 0.5 else None)
        kept = tuple(one for one in table.others if one != column)
        return replace(table, others=(*kept, column))

    def _to_text(self, table: Table) -> Table | None:
        column = self._random.choice(table.others)
        self._do(table, sql.SQL("ALTER {} TYPE text USING {}::text").format(column.quoted, column.quoted))
        return self._with(table, column, replace(column, kind=_TEXT))

    def _write_anew(self, table: Table) -> Table | None:
        """Other values under the same type: no row shows it."""
        column = self._random.choice(table.others)
        kind: Kind = column.kind
        self._do(table, sql.SQL("ALTER {} TYPE " + kind.sql + " USING NULL").format(column.quoted))  # type: ignore[arg-type]
        return table

    def _leave_and_come_back(self, table: Table) -> Table | None:
        with self._connection.transaction():  # both or neither: somebody may lock the table in between
            for verb in ("DROP", "ADD"):
                self._connection.execute(
                    sql.SQL("ALTER PUBLICATION {} " + verb + " TABLE {}").format(  # type: ignore[arg-type]
                        sql.Identifier(self._publication), table.quoted
                    )
                )
        return table

    @staticmethod
    def _adding(column: Column) -> sql.Composed:
        return sql.SQL("ADD {} " + column.kind.sql + " DEFAULT {}").format(column.quoted, sql.Placeholder())  # type: ignore[arg-type]

    @staticmethod
    def _with(table: Table, old: Column, new: Column) -> Table:
        return replace(table, others=tuple(new if one == old else one for one in table.others))

    def _do(self, table: Table, change: sql.Composed, *values: object) -> None:
        statement = sql.SQL("ALTER TABLE {} ").format(table.quoted) + change
        psycopg.ClientCursor(self._connection).execute(statement, values)
