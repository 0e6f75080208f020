"""Random tables: keys of one or two columns or none, each replica identity that streams, TOAST, partitions, names."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from psycopg import sql

from tests.soak.kinds import KEY_KINDS, KINDS, Kind

_NAMES = ("users", "Order Items", "注文", "t", "select", "a.b")
_COLUMNS = ("v", "Name", "値", "order", "a b", "x", "note", "at", "n", "w")


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind

    @property
    def quoted(self) -> sql.Identifier:
        return sql.Identifier(self.name)


@dataclass(frozen=True)
class Table:
    name: str
    key: tuple[Column, ...]  # empty: rows may repeat
    others: tuple[Column, ...]
    full: bool  # replica identity full
    partitioned: bool

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.key + self.others

    @property
    def quoted(self) -> sql.Identifier:
        return sql.Identifier(self.name)

    def made(self) -> list[sql.Composed]:
        """The statements that make it."""
        columns = [sql.SQL("{} " + column.kind.sql).format(column.quoted) for column in self.columns]  # type: ignore[arg-type]
        if self.key:
            columns.append(sql.SQL("PRIMARY KEY ({})").format(_listed(self.key)))
        body = sql.SQL("CREATE TABLE {} ({})").format(self.quoted, sql.SQL(", ").join(columns))
        statements = [body]
        tables = [self.quoted]
        if self.partitioned:
            statements = [body + sql.SQL(" PARTITION BY HASH ({})").format(self.key[0].quoted)]
            for remainder in range(3):
                part = sql.Identifier(f"{self.name} part {remainder}")
                bounds = "FOR VALUES WITH (MODULUS 3, REMAINDER {})"
                statements.append(
                    sql.SQL("CREATE TABLE {} PARTITION OF {} " + bounds).format(part, self.quoted, remainder)
                )
                tables.append(part)
        for table in tables:
            if self.full:
                statements.append(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(table))
            statements += [
                sql.SQL("ALTER TABLE {} ALTER {} SET STORAGE EXTERNAL").format(table, column.quoted)
                for column in self.others
                if column.kind.sql in ("text", "bytea")
            ]
        return statements


def random_tables(r: Random) -> list[Table]:
    return [_table(r, name) for name in r.sample(_NAMES, r.randint(2, 4))]


def _table(r: Random, name: str) -> Table:
    names = r.sample(_COLUMNS, len(_COLUMNS))
    key = tuple(Column(names.pop(), r.choice(KEY_KINDS)) for _ in range(r.choice((0, 1, 1, 1, 2))))
    others = tuple(Column(names.pop(), r.choice(KINDS)) for _ in range(r.randint(1, 6)))
    full = not key or r.random() < 0.2
    return Table(name, key, others, full, bool(key) and r.random() < 0.2)


def _listed(columns: tuple[Column, ...]) -> sql.Composed:
    return sql.SQL(", ").join(column.quoted for column in columns)
