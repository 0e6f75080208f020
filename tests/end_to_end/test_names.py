"""Names on the whole way, from the source to every question: each works, or is refused before anything starts."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from psycopg import sql

from cdc.relation import TableName
from lakehouse.errors import QueryRefused
from lakehouse.names import to_segment
from lakehouse.sql import is_taken
from pipelines.resync import request_resync
from tests.end_to_end.conftest import Pipeline

TABLES = (
    ("public", "Upper Case"),
    ("a.schema", "with.dots"),
    ("a", "schema.with"),
    ("見本 帳", "受注;明細"),
    ('quo"ted', '"it\'s"'),
    ("main", "temp"),
    ("temp", "main"),
    ("changelog", "history"),
    ("history", "x"),
    ("memory", "tail_1"),
    ("rireki", "cuts"),
    ("rireki", "select"),
    ("percent%20", "a=b/c\\d"),
)
COLUMNS = (
    "id", "Upper", "two words", "dotted.name", "日本語", 'quo"te', "it's", "back`tick", "a,b;c{d}(e)", "tab\tand\nline",
    "x=y", "*", "^id$", "select", "%s", "$1", "\\", "element", "key", "nullif(x)", " ", ".", "_", "__op",
    "résumé",
)  # fmt: skip


@pytest.fixture
def names(pipeline: Pipeline) -> Pipeline:
    """Tables of all these names, each with columns of all these names, published and holding one row."""
    columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in COLUMNS[1:])
    with pipeline.database.connect() as connection:
        for schema, table in TABLES:
            name = sql.Identifier(schema, table)
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            connection.execute(sql.SQL("CREATE TABLE {} (id bigint PRIMARY KEY, {})").format(name, columns))
            connection.execute(
                sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(sql.Identifier(pipeline.database.name), name)
            )
    _insert(pipeline, 1)
    return pipeline


def _insert(pipeline: Pipeline, number: int) -> None:
    with pipeline.database.connect() as connection:
        for schema, table in TABLES:
            values = [number, *(f"{table} {column} {number}" for column in COLUMNS[1:])]
            connection.execute(
                sql.SQL("INSERT INTO {} VALUES ({})").format(
                    sql.Identifier(schema, table), sql.SQL(", ").join(map(sql.Literal, values))
                )
            )


def _in_sql(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def test_tables_and_columns_of_any_name_are_copied_streamed_and_read(names: Pipeline) -> None:
    names.drain()
    _insert(names, 2)
    with names.database.connect() as connection:
        for schema, table in TABLES:
            change = sql.SQL("UPDATE {} SET {} = 'changed' WHERE id = 1")
            connection.execute(change.format(sql.Identifier(schema, table), sql.Identifier(COLUMNS[2])))
    names.drain()

    with names.running():
        assert names.reconcile().mismatches == 0
    lake = names.lake()
    wanted = ", ".join(map(_in_sql, COLUMNS))
    for schema, table in TABLES:
        expected = [
            dict(zip(COLUMNS, [n, *(f"{table} {column} {n}" for column in COLUMNS[1:])], strict=True)) for n in (1, 2)
        ]
        expected[0][COLUMNS[2]] = "changed"
        name = TableName(schema, table)
        for written in (_in_sql("current", str(name)), _in_sql(schema, table))[: 1 if is_taken(name) else 2]:
            found = lake.sql(f"SELECT {wanted} FROM {written} ORDER BY id").arrow.to_pylist()
            assert found == expected, written
        (count,) = lake.sql(f"SELECT count(*) AS n FROM {_in_sql('changelog', str(name))}").arrow.to_pylist()
        assert count["n"] == 4  # the copy's beginning and its row, an insert, an update
        assert [change.op for change in lake.trace(name, "1")] == ["copy", "update"]
    everything = " UNION ALL ".join(f"SELECT id FROM {_in_sql('current', str(TableName(*name)))}" for name in TABLES)
    assert lake.sql(everything).arrow.num_rows == 2 * len(TABLES)


def test_a_schema_named_like_a_catalog_of_duckdb_is_read_under_a_spelling_that_the_refusal_names(
    names: Pipeline,
) -> None:
    names.drain()

    with pytest.raises(QueryRefused) as refused:
        names.lake().sql('SELECT * FROM "temp"."main"')

    assert refused.value.fix == 'write it as current."temp.main"'


def test_other_engines_open_tables_and_columns_of_any_name(names: Pipeline) -> None:
    names.drain()
    root = names.config.lake_root()

    for schema, table in TABLES:
        uri = root.uri("current", TableName(schema, table))
        read = pl.scan_delta(uri, storage_options=root.storage_options).collect()
        assert set(COLUMNS) <= set(read.columns)
        delta = DeltaTable(uri, storage_options=root.storage_options)
        assert pa.table(QueryBuilder().register("t", delta).execute("SELECT id FROM t").read_all())[
            "id"
        ].to_pylist() == [1]
        assert uri.endswith(f"/{to_segment(schema)}/{to_segment(table)}")


def test_a_wish_for_a_table_whose_schema_has_a_dot_reaches_it(names: Pipeline) -> None:
    names.drain()
    name = TableName("a.schema", "with.dots")
    before = names.lake().at().cut.versions

    request_resync(names.config, (name,), reason="test")
    names.drain()

    after = names.lake().at().cut.versions
    assert {table for table, version in after.items() if version != before[table]} == {name}
    assert json.loads(json.dumps({str(table): version for table, version in after.items()})).keys() == {
        str(TableName(*table)) for table in TABLES
    }


def test_a_table_of_1600_columns_is_copied_and_streamed(pipeline: Pipeline) -> None:
    columns = ", ".join(f"c{number} int" for number in range(1599))
    pipeline.database.execute(
        f"CREATE TABLE wide (id int PRIMARY KEY, {columns})",
        "INSERT INTO wide (id, c0, c1598) VALUES (1, 10, 11)",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE wide",
    )
    pipeline.drain()
    pipeline.database.execute("INSERT INTO wide (id, c1598) VALUES (2, 21)", "UPDATE wide SET c1597 = 12 WHERE id = 1")
    pipeline.drain()

    found = pipeline.lake().sql("SELECT id, c0, c1597, c1598 FROM public.wide ORDER BY id").arrow.to_pylist()
    assert [tuple(row.values()) for row in found] == [(1, 10, 12, 11), (2, None, None, 21)]
    with pipeline.running():
        assert pipeline.reconcile().mismatches == 0
