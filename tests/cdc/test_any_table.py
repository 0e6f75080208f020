"""A law: whatever a table's types and values are, copy and stream, in binary and in text, say what PostgreSQL prints.

A failure prints the table and its rows, shrunk, and a blob for ``@reproduce_failure``; ``--hypothesis-seed`` draws the
same tables again. ``RIREKI_EXAMPLES`` says how many.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cdc.lsn import Lsn
from cdc.relation import text_column
from tests.cdc.any_type import ONLY_AS_TEXT, AnyType, any_types, nullable
from tests.cdc.conftest import Source
from tests.cdc.printed import printed, same_bits, told


@dataclass(frozen=True)
class AnyTable:
    columns: tuple[AnyType, ...]
    rows: tuple[tuple[str, ...], ...]

    def statements(self) -> list[str]:
        columns = ", ".join(f"c{number} {column.sql}" for number, column in enumerate(self.columns))
        return [
            *dict.fromkeys(make for column in self.columns for make in column.makes),
            f"CREATE TABLE t (id int PRIMARY KEY, {columns})",
        ]

    def inserts(self) -> list[str]:
        return [f"INSERT INTO t VALUES ({number}, {', '.join(row)})" for number, row in enumerate(self.rows)]


@st.composite
def any_tables(draw: st.DrawFn) -> AnyTable:
    names = (f"t{number}" for number in itertools.count())
    columns = draw(st.lists(any_types(lambda: next(names)), min_size=1, max_size=8))
    if draw(st.integers(0, 4)) == 0:
        columns.append(draw(st.sampled_from(ONLY_AS_TEXT)))
    row = st.tuples(*(nullable(column.values, column.sql) for column in columns))
    return AnyTable(tuple(columns), tuple(draw(st.lists(row, min_size=1, max_size=4))))


@pytest.mark.timeout(900)  # shrinking asks the server many times
@settings(
    max_examples=int(os.environ.get("RIREKI_EXAMPLES", "12")),
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(any_tables())
def test_any_table_is_copied_and_streamed_as_postgresql_prints_it(source: Source, table: AnyTable) -> None:
    for statement in (*table.statements(), *table.inserts()):
        note(statement)
    source.execute(
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        *table.statements(),
        "ALTER PUBLICATION published ADD TABLE t",
    )
    start = source.start()
    source.transaction(*table.inserts())

    sessions = [True, False] if not source.only_as_text() else [False]
    streamed = [_rows(source, start, binary) for binary in sessions]
    copied = source.copy("public.t")

    expected = printed(source, "t", [f"c{number}" for number in range(len(table.columns))])
    for number, column in enumerate(table.columns):
        name = f"c{number}"
        assert told(copied, name, column.shown) == expected[name], column.sql
        for rows in streamed:
            assert told(rows, name, column.shown) == expected[name], column.sql
            for one in {name, text_column(name)} & {*copied.column_names, *rows.column_names}:
                assert same_bits(rows[one].combine_chunks(), copied[one].combine_chunks()), column.sql


def _rows(source: Source, start: Lsn, binary: bool) -> pa.Table:
    (changes,) = source.take(start, confirm=not binary, binary=binary).tables
    return changes.rows
