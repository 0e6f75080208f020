"""What the source had at a known LSN, and what the lake says it had. Compared by value, as bags of rows."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.errors import BeforeFirstCut, HistoryIncomplete
from lakehouse.lake import Lake
from tests.soak.tables import Table

Bag = Counter[tuple[Any, ...]]


@dataclass(frozen=True)
class Moment:
    """Every committed row as of ``lsn``. ``step`` is the author's step after which it was taken."""

    step: int
    lsn: Lsn
    rows: Mapping[Table, Bag]


def source_now(connection: psycopg.Connection[tuple[Any, ...]], tables: Sequence[Table], step: int) -> Moment:
    """Nobody else may commit meanwhile. Whoever commits later writes at or behind the log's present end."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = {table: Counter(_told(connection, table)) for table in tables}
        ((end,),) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
    return Moment(step, Lsn.parse(str(end)).before(), rows)


def _told(connection: psycopg.Connection[tuple[Any, ...]], table: Table) -> list[tuple[Any, ...]]:
    shown = sql.SQL(", ").join(
        sql.SQL(column.kind.shown).format(column.quoted)  # type: ignore[arg-type]
        for column in table.columns
    )
    found = connection.execute(sql.SQL("SELECT {} FROM {}").format(shown, table.quoted)).fetchall()
    return [tuple(map(_plain, row)) for row in found]


@dataclass(frozen=True)
class Difference:
    """What only one side has, at one moment."""

    table: str
    moment: Moment
    only_source: list[tuple[Any, ...]]
    only_lake: list[tuple[Any, ...]]

    def __str__(self) -> str:
        few = 3
        return (
            f"{self.table} at {self.moment.lsn} (step {self.moment.step}): {len(self.only_source)} rows only in the"
            f" source, {len(self.only_lake)} only in the lake\n"
            f"  source: {self.only_source[:few]}\n  lake:   {self.only_lake[:few]}"
        )


def differences(lake: Lake, moment: Moment) -> tuple[int, list[Difference]]:
    """How many tables the lake answered for, and where it was wrong. A moment before a table's copy isn't answered."""
    answered, found = 0, []
    for table, expected in moment.rows.items():
        held = _held(lake, table, moment.lsn)
        if held is None:
            continue
        answered += 1
        if held != expected:
            only_source, only_lake = expected - held, held - expected
            found.append(Difference(table.name, moment, list(only_source.elements()), list(only_lake.elements())))
    return answered, found


def doubled(lake: Lake, table: Table) -> int:
    """Changes that stand in the changelog more than once."""
    quoted = str(TableName("public", table.name)).replace('"', '""')
    query = f'SELECT count(*) - count(DISTINCT (_commit_lsn, _ordinal)) AS n FROM changelog."{quoted}"'
    return int(lake.sql(query, at="now").arrow["n"][0].as_py())


def _held(lake: Lake, table: Table, lsn: Lsn) -> Bag | None:
    try:
        answer = lake.sql(f'FROM public."{table.name}"', at=lsn)
    except (HistoryIncomplete, BeforeFirstCut):
        return None
    if not answer.as_of.complete:
        return None
    # A column that came empty joins with the first row behind it: until then there is nothing to see in it.
    absent = [None] * answer.arrow.num_rows
    held = {name: answer.arrow[name].to_pylist() for name in answer.columns}
    values = (held.get(column.name, absent) for column in table.columns)
    return Counter(tuple(map(_plain, row)) for row in zip(*values, strict=True))


def _plain(value: Any) -> Any:
    """Equal exactly where the lake must be: floats by their bits, times by their moment."""
    match value:
        case float():
            return struct.pack(">d", value) if value == value else "NaN"
        case datetime():
            return value.astimezone(UTC)
        case list():
            return tuple(map(_plain, value))
        case memoryview():
            return bytes(value)
        case _:
            return value
