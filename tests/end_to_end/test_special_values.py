"""Values that their column's lake type can't hold, on the whole way: a text column beside it tells them."""

from __future__ import annotations

import json

import pytest

from cdc.lsn import Lsn
from cdc.relation import TableName
from pipelines.progress import Durable
from tests.end_to_end.conftest import Pipeline, wait_until

SQUARE = "{{1,2},{3,4}}"
LATE = "294276-12-31 23:59:59.999999+00"


def _end(pipeline: Pipeline) -> Lsn:
    ((text,),) = pipeline.database.rows("SELECT pg_current_wal_insert_lsn()::text")
    return Lsn.parse(text)


def _rows(pipeline: Pipeline, question: str, at: Lsn | None = None) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in pipeline.lake().sql(question, at=at).arrow.to_pylist()]


def _mismatches(pipeline: Pipeline) -> int:
    with pipeline.running():
        return pipeline.reconcile().mismatches


@pytest.mark.parametrize("as_text", [False, True], ids=["binary session", "text session"])
def test_a_value_beyond_its_lake_type_is_told_as_text_and_stops_nothing(pipeline: Pipeline, as_text: bool) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(8,2), z timestamptz, a int[])",
        f"INSERT INTO t VALUES (1, 1.5, '2026-01-01+00', '{{1}}'), (2, 'NaN', '{LATE}', '{SQUARE}')",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    if as_text:
        pipeline.database.execute(
            "CREATE TABLE prices (p money)", f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE prices"
        )
    pipeline.drain()
    before = _end(pipeline)
    pipeline.database.execute(
        "UPDATE t SET n = 'NaN' WHERE id = 1", "UPDATE t SET n = 2, z = 'infinity', a = '{}' WHERE id = 2"
    )
    pipeline.drain()
    told = "SELECT id, n::varchar, _text_n, _text_z, _text_a FROM public.t ORDER BY id"

    assert _rows(pipeline, told, before) == [(1, "1.50", None, None, None), (2, None, "NaN", LATE, SQUARE)]
    assert _rows(pipeline, told) == [(1, None, "NaN", None, None), (2, "2.00", None, None, None)]
    assert _mismatches(pipeline) == 0


def test_a_text_column_joins_in_mid_stream_and_outlives_a_restart(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(8,2), note text)",
        "INSERT INTO t VALUES (1, 1, 'a')",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    pipeline.drain()
    with pipeline.running() as events:
        pipeline.database.execute("UPDATE t SET n = 'NaN'")
        wait_until(lambda: sum(isinstance(event, Durable) for event in events) >= 1, "the update")
        pipeline.database.execute("INSERT INTO t VALUES (2, 2, 'b')")

    pipeline.database.execute("UPDATE t SET note = 'c'", "INSERT INTO t VALUES (3, 3, 'd')")
    pipeline.drain()

    assert _rows(pipeline, "SELECT id, n::int, _text_n, note FROM public.t ORDER BY id") == [
        (1, None, "NaN", "c"),
        (2, 2, None, "c"),
        (3, 3, None, "d"),
    ]
    assert _mismatches(pipeline) == 0


def test_an_array_that_toast_leaves_out_keeps_its_text(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a float8[], v int)",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
        "ALTER TABLE t ALTER a SET STORAGE EXTERNAL",
    )
    pipeline.drain()
    grid = "SELECT array_agg(ARRAY[x, x / 7.0]) FROM generate_series(1, 2000) x"
    pipeline.database.execute(f"INSERT INTO t SELECT 1, ({grid}), 1")
    pipeline.drain()
    pipeline.database.execute("UPDATE t SET v = 2")
    pipeline.drain()

    ((printed,),) = pipeline.database.rows("SELECT a::text FROM t")
    assert _rows(pipeline, "SELECT v, a, _text_a FROM public.t") == [(2, None, printed)]
    assert _rows(pipeline, "SELECT _unchanged FROM changelog.\"public.t\" WHERE _op = 'update'") == [(["a"],)]
    assert _mismatches(pipeline) == 0


def test_a_key_beyond_its_lake_type_finds_its_row(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id numeric(8,0) PRIMARY KEY, v int)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    pipeline.drain()
    moments = []
    for statement in (
        "UPDATE t SET id = 'NaN' WHERE id = 1",
        "UPDATE t SET v = 3 WHERE id = 'NaN'",
        "UPDATE t SET v = 4 WHERE id = 2",
        "UPDATE t SET id = 1 WHERE id = 'NaN'",
        "UPDATE t SET id = 'NaN' WHERE id = 2",
        "DELETE FROM t WHERE id = 'NaN'",
    ):
        pipeline.database.execute(statement)
        moments.append((_end(pipeline), pipeline.database.rows("SELECT id::text, v FROM t ORDER BY v")))
        if len(moments) % 2:
            pipeline.drain()
    pipeline.drain()

    question = "SELECT coalesce(_text_id, id::int::varchar), v FROM public.t ORDER BY v"
    for lsn, expected in moments:
        assert _rows(pipeline, question, lsn) == expected
    assert _mismatches(pipeline) == 0
    lives = pipeline.lake().trace(TableName("public", "t"), json.dumps({"_text_id": "NaN"}))
    assert [[change.op for change in lives if change.life == life] for life in (1, 2)] == [
        ["copy", "update", "update", "update"],
        ["copy", "update", "update", "delete"],
    ]
    assert [change.op for change in pipeline.lake().trace(TableName("public", "t"), "2")] == [
        "copy",
        "update",
        "update",
    ]
