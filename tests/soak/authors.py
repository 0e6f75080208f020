"""Several sessions at work. One thread drives them all, so their transactions interleave as the seed says.

A session that meets another's lock gives up after a few milliseconds and rolls back, as a deadlock's victim would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random

import psycopg
from psycopg import sql

from tests.soak.tables import Column, Table

_MOST_ROWS = 3_000  # of a table: the oracle keeps every row of many moments in memory


class Author:
    """One session, in a transaction or not."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], tables: Sequence[Table], r: Random) -> None:
        self._connection, self._tables, self._random = connection, tables, r
        self._steps_left = 0
        self._savepoints = 0
        connection.execute("SET lock_timeout = '20ms'")

    def step(self) -> bool:
        """Do one thing. True when it left nothing open: committed, rolled back, or given up."""
        try:
            if not self._steps_left:
                self._begin()
            elif self._steps_left == 1:
                self._end()
            else:
                self._act()
            self._steps_left -= 1
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.IntegrityError,
            psycopg.errors.DataError,
            psycopg.errors.ObjectNotInPrerequisiteState,
        ):
            self.give_up()
        return self._steps_left == 0

    def give_up(self) -> None:
        self._connection.execute("ROLLBACK")
        self._steps_left = 0

    def _begin(self) -> None:
        r = self._random
        self._connection.execute("BEGIN")
        self._savepoints = 0
        if r.random() < 0.5:
            context = json.dumps({"actor": f"user-{r.randint(1, 9)}", "reason": "試験"})
            self._connection.execute("SELECT pg_logical_emit_message(true, 'rireki.context', %s)", (context,))
        self._steps_left = r.choice((3, 3, 3, 4, 6, 20))

    def _end(self) -> None:
        self._connection.execute("ROLLBACK" if self._random.random() < 0.1 else "COMMIT")

    def _act(self) -> None:
        r = self._random
        table = r.choice(self._tables)
        kinds: tuple[tuple[int, Callable[[Table], None]], ...] = (
            (30, self._insert),
            (30, self._update),
            (15, self._delete),
            (8, self._move_key),
            (5, self._swap_keys),
            (3, self._insert_many),
            (3, self._touch_all),
            (1, self._truncate),
            (6, self._savepoint),
        )
        r.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0](table)

    def _insert(self, table: Table) -> None:
        self._insert_rows(table, 1)

    def _insert_many(self, table: Table) -> None:
        ((held,),) = self._rows(sql.SQL("SELECT count(*) FROM {}").format(table.quoted))
        if int(str(held)) < _MOST_ROWS:
            self._insert_rows(table, self._random.choice((50, 300)))

    def _insert_rows(self, table: Table, count: int) -> None:
        values = sql.SQL("({})").format(
            sql.SQL(", ").join(sql.SQL("%s::" + column.kind.sql) for column in table.columns)  # type: ignore[arg-type]
        )
        statement = sql.SQL("INSERT INTO {} ({}) VALUES {} ON CONFLICT DO NOTHING").format(
            table.quoted,
            sql.SQL(", ").join(column.quoted for column in table.columns),
            sql.SQL(", ").join([values] * count),
        )
        row = [column for _ in range(count) for column in table.columns]
        self._connection.execute(statement, [self._value(column, column in table.key) for column in row])

    def _update(self, table: Table) -> None:
        changed = self._random.sample(table.others, self._random.randint(1, len(table.others)))
        self._change(table, changed, self._some(table, self._random.choice((1, 1, 5))))

    def _touch_all(self, table: Table) -> None:
        """Every row anew; nearly all values stay as they are."""
        column = self._random.choice(table.others).quoted
        self._connection.execute(sql.SQL("UPDATE {} SET {} = {}").format(table.quoted, column, column))

    def _delete(self, table: Table) -> None:
        where = self._some(table, self._random.choice((1, 1, 1, 10)))
        self._connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(table.quoted, where))

    def _move_key(self, table: Table) -> None:
        if table.key:
            self._change(table, [self._random.choice(table.key)], self._some(table, 1))

    def _swap_keys(self, table: Table) -> None:
        """Two rows change places through a third key."""
        if len(table.key) != 1:
            return
        (key,) = table.key
        wanted = sql.SQL("SELECT {} FROM {} ORDER BY 1 OFFSET {} LIMIT 2").format(
            key.quoted, table.quoted, self._random.randint(0, 20)
        )
        found = [value for (value,) in self._rows(wanted)]
        if len(found) < 2:
            return
        statement = sql.SQL("UPDATE {} SET {} = %s::" + key.kind.sql + " WHERE {} = %s::" + key.kind.sql).format(  # type: ignore[arg-type]
            table.quoted, key.quoted, key.quoted
        )
        free = key.kind.value(self._random)
        for target, now in ((free, found[0]), (found[0], found[1]), (found[1], free)):
            self._connection.execute(statement, (target, now))

    def _truncate(self, table: Table) -> None:
        self._connection.execute(sql.SQL("TRUNCATE {}").format(table.quoted))

    def _savepoint(self, table: Table) -> None:
        if self._savepoints and self._random.random() < 0.6:
            self._connection.execute(sql.SQL("ROLLBACK TO {}").format(sql.Identifier(f"s{self._savepoints}")))
            self._savepoints -= 1
        else:
            self._savepoints += 1
            self._connection.execute(sql.SQL("SAVEPOINT {}").format(sql.Identifier(f"s{self._savepoints}")))

    def _change(self, table: Table, columns: Sequence[Column], where: sql.Composed) -> None:
        changes = sql.SQL(", ").join(
            sql.SQL("{} = %s::" + column.kind.sql).format(column.quoted)  # type: ignore[arg-type]
            for column in columns
        )
        values = [self._value(column, column in table.key) for column in columns]
        self._connection.execute(sql.SQL("UPDATE {} SET {} WHERE {}").format(table.quoted, changes, where), values)

    def _some(self, table: Table, most: int) -> sql.Composed:
        """A condition that few rows meet."""
        offset = self._random.randint(0, 30)
        if not table.key:
            condition = "ctid IN (SELECT ctid FROM {} ORDER BY ctid OFFSET {} LIMIT {})"
            return sql.SQL(condition).format(table.quoted, offset, most)
        key = sql.SQL(", ").join(column.quoted for column in table.key)
        return sql.SQL("({}) IN (SELECT {} FROM {} ORDER BY {} OFFSET {} LIMIT {})").format(
            key, key, table.quoted, key, offset, most
        )

    def _value(self, column: Column, in_key: bool) -> object:
        return None if not in_key and self._random.random() < 0.15 else column.kind.value(self._random)

    def _rows(self, query: sql.Composed) -> list[tuple[object, ...]]:
        return self._connection.execute(query).fetchall()
