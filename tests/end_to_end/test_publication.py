"""Tables that come, go and change their names while they are streamed; partitions that bring and take rows."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.relation import TableName
from lakehouse.cuts import Gap
from pipelines.status import TableState, Verdict, status_of
from tests.end_to_end.conftest import Pipeline, wait_until

T = TableName("public", "t")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, a text)"
OTHER = "CREATE TABLE other (id int PRIMARY KEY)"
PARTS = (
    "CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
)


@pytest.fixture
def streamed(pipeline: Pipeline) -> Pipeline:
    pipeline.database.execute(TABLE, "INSERT INTO t VALUES (1, 'one')", OTHER, "CREATE SCHEMA elsewhere")
    pipeline.database.execute(f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t, other")
    pipeline.drain()
    pipeline.drain()
    return pipeline


def gaps_of(pipeline: Pipeline, table: str) -> tuple[Gap, ...]:
    return pipeline.lake().sql(f"FROM {table}").as_of.gaps


def values(pipeline: Pipeline, table: str, **options: Any) -> list[tuple[Any, ...]]:
    rows = pipeline.lake().sql(f"SELECT id, a FROM {table} ORDER BY id", **options).arrow.to_pylist()
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "said", "goes_on_as"),
    [
        ("ALTER TABLE t RENAME TO t2", "at the source it is public.t2", "public.t2"),
        ("ALTER TABLE t SET SCHEMA elsewhere", "at the source it is elsewhere.t", "elsewhere.t"),
        ("ALTER PUBLICATION {name} DROP TABLE t", "at the source it is public.t", None),
        ("DROP TABLE t", "it was dropped", None),
    ],
    ids=["renamed", "moved", "unpublished", "dropped"],
)
def test_a_table_that_left_keeps_what_it_was_and_holds_nobody(
    streamed: Pipeline, statement: str, said: str, goes_on_as: str | None
) -> None:
    before = streamed.lake().at(None).lsn
    streamed.database.execute(statement.format(name=streamed.database.name), "INSERT INTO other VALUES (1)")
    if goes_on_as:
        streamed.database.execute(f"INSERT INTO {goes_on_as} VALUES (2, 'two')")

    streamed.drain()
    streamed.drain()

    ((gap),) = gaps_of(streamed, "public.t")
    assert said in gap.reason and gap.to_lsn is None and gap.table == T
    assert values(streamed, "public.t") == values(streamed, "public.t", at=before) == [(1, "one")]
    assert gaps_of(streamed, "public.other") == ()
    assert streamed.lake().sql("FROM public.other").arrow.num_rows == 1
    if goes_on_as:
        assert values(streamed, goes_on_as) == [(1, "one"), (2, "two")]
    status = status_of(streamed.config)
    assert status.tables()[T] is TableState.LEFT
    assert not any("vouch" in reason for _, reason in status.reasons()), "nobody is called for what was meant"


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_table_that_came_back_is_copied_and_its_absence_is_a_gap_with_an_end(streamed: Pipeline) -> None:
    publication = streamed.database.name
    streamed.database.execute(f"ALTER PUBLICATION {publication} DROP TABLE t")
    streamed.drain()
    streamed.database.execute("UPDATE t SET a = 'missed'", f"ALTER PUBLICATION {publication} ADD TABLE t")

    streamed.drain()

    assert values(streamed, "public.t") == [(1, "missed")]
    assert gaps_of(streamed, "public.t") == ()
    ((gap),) = streamed.lake().gaps({T})
    assert gap.to_lsn is not None
    assert values(streamed, "public.t", at=gap.from_lsn) == [(1, "one")]


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_changes_are_followed_while_capture_runs_and_it_never_stops(streamed: Pipeline) -> None:
    with streamed.running():
        streamed.database.execute("ALTER TABLE t ADD b int DEFAULT 7", "ALTER TABLE t ALTER a TYPE text USING upper(a)")
        wanted = [(1, "ONE", 7)]
        wait_until(
            lambda: (
                [tuple(row.values()) for row in streamed.lake().sql("SELECT id, a, b FROM public.t").arrow.to_pylist()]
                == wanted
                if "b" in streamed.lake().sql("FROM public.t").columns
                else False
            ),
            "the copy of what no row showed",
        )
        streamed.database.execute(
            TABLE.replace(" t ", " late "), f"ALTER PUBLICATION {streamed.database.name} ADD TABLE late"
        )
        streamed.database.execute("INSERT INTO late VALUES (3, 'three')")
        wait_until(lambda: TableName("public", "late") in streamed.lake().tables(), "the new table")
        assert streamed.reconcile().mismatches == 0


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
@pytest.mark.parametrize(
    ("statements", "copied"),
    [
        (("CREATE TABLE p2 (LIKE t INCLUDING ALL)", "INSERT INTO p2 VALUES (11, 'x')",
          "ALTER TABLE t ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)"), True),
        (("ALTER TABLE t DETACH PARTITION p1",), True),
        (("DROP TABLE p1",), True),
        (("CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (10) TO (20)",), False),
    ],
    ids=["attached", "detached", "dropped", "made in its place"],
)  # fmt: skip
def test_rows_that_come_and_go_with_a_partition_are_followed(
    pipeline: Pipeline, statements: tuple[str, ...], copied: bool
) -> None:
    pipeline.database.execute(*PARTS, "INSERT INTO t VALUES (1, 'one')")
    pipeline.database.execute(f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t")
    pipeline.drain()

    pipeline.database.execute(*statements)
    report = pipeline.drain()
    if "p2" in statements[0]:
        pipeline.database.execute("INSERT INTO t VALUES (12, 'y')")
        pipeline.drain()

    assert ("public.t" in report.tables) is copied
    assert pipeline.reconcile_drained().mismatches == 0
    assert gaps_of(pipeline, "public.t") == ()


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_roots_or_leaves_may_be_published_in_turn(pipeline: Pipeline) -> None:
    name = pipeline.database.name
    pipeline.database.execute(*PARTS, "INSERT INTO t VALUES (1, 'one')", f"ALTER PUBLICATION {name} ADD TABLE t")
    pipeline.drain()

    pipeline.database.execute(f"ALTER PUBLICATION {name} SET (publish_via_partition_root = false)")
    pipeline.database.execute("INSERT INTO t VALUES (2, 'two')")
    pipeline.drain()
    by_leaf = values(pipeline, "public.p1")
    pipeline.database.execute(f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true)")
    pipeline.database.execute("INSERT INTO t VALUES (3, 'three')")
    pipeline.drain()

    assert by_leaf == [(1, "one"), (2, "two")]
    assert values(pipeline, "public.t") == [*by_leaf, (3, "three")]
    assert gaps_of(pipeline, "public.t") == ()
    assert status_of(pipeline.config).verdict is not Verdict.FAILED
