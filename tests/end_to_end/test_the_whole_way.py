"""From a committed change to an answer, on real parts."""

from __future__ import annotations

import pytest

from cdc.errors import SlotLost
from cdc.lsn import Lsn
from cdc.slot import drop_slot, ensure_slot
from lakehouse.errors import BeforeFirstCut, BeyondLake
from pipelines.progress import Copied, Streaming, Waiting
from pipelines.resync import request_resync
from tests.end_to_end.conftest import Pipeline, wait_until
from tests.end_to_end.workload import TABLES, Workload, create


def test_what_was_there_before_and_what_comes_while_streaming_reconciles_by_value(pipeline: Pipeline) -> None:
    with pipeline.database.connect() as connection:
        create(connection, pipeline.database.name)
        workload = Workload(connection, seed=1)
        workload.transactions(40)

        with pipeline.running():
            workload.transactions(150)
            found = pipeline.reconcile()

    assert {str(name) for name in found.tables} == {f"public.{table}" for table in TABLES}
    assert found.mismatches == 0
    assert sum(table.source_rows for table in found.tables.values()) > 0


def test_every_commit_in_the_past_is_answered_exactly(pipeline: Pipeline) -> None:
    states: list[tuple[Lsn, list[tuple[object, ...]]]] = []
    question = "SELECT id, name, balance, tags FROM public.users ORDER BY id"
    with pipeline.database.connect() as connection:
        create(connection, pipeline.database.name)
        workload = Workload(connection, seed=2)
        pipeline.drain()
        for number in range(60):
            workload.transaction()
            # Nobody else writes here: the log's end, read after the commit, lies before the next one.
            ((end,),) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
            states.append((Lsn.parse(str(end)), connection.execute(question).fetchall()))
            if number % 20 == 10:
                pipeline.drain()
        pipeline.drain()

    lake = pipeline.lake()

    for lsn, expected in states[:: 1 if lake.root.is_local else 6]:  # a question costs the S3 stand-in most of a second
        answer = lake.sql(question, at=lsn)
        assert [tuple(row.values()) for row in answer.arrow.to_pylist()] == expected, str(lsn)
        assert answer.as_of.complete


def test_asking_before_the_first_cut_or_beyond_the_last_is_refused(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY)", f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t"
    )
    pipeline.drain()
    lake = pipeline.lake()

    with pytest.raises(BeforeFirstCut):
        lake.sql("SELECT * FROM public.t", at=Lsn(1))
    with pytest.raises(BeyondLake):
        lake.sql("SELECT * FROM public.t", at="2999-01-01")


def test_who_and_why_stand_beside_every_change(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
        "INSERT INTO t VALUES (1, 'before')",
    )
    pipeline.drain()
    with pipeline.database.connect() as connection, connection.transaction():
        connection.execute(
            'SELECT pg_logical_emit_message(true, \'rireki.context\', \'{"actor": "佐藤", "reason": "異動"}\')'
        )
        connection.execute("UPDATE t SET v = 'after'")
    pipeline.drain()

    answer = pipeline.lake().sql("SELECT actor, reason, tables, rows FROM rireki.transactions ORDER BY commit_lsn")

    assert [tuple(row.values()) for row in answer.arrow.to_pylist()][-1] == ("佐藤", "異動", ["public.t"], 1)


def test_a_table_added_to_the_publication_is_copied_by_itself(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY)", f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t"
    )
    with pipeline.running() as told:
        wait_until(lambda: any(isinstance(event, Copied) for event in told), "the first copy")
        pipeline.database.execute(
            "CREATE TABLE late (id int PRIMARY KEY)",
            "INSERT INTO late SELECT generate_series(1, 100)",
            f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE late",
            "INSERT INTO late VALUES (1000)",
            "DELETE FROM late WHERE id = 50",
        )
        wait_until(lambda: any(isinstance(event, Copied) and event.table.table == "late" for event in told), "its copy")
        found = pipeline.reconcile()

    assert found.mismatches == 0
    assert {str(name): table.lake_rows for name, table in found.tables.items()} == {"public.t": 0, "public.late": 100}


def test_a_table_copied_again_while_it_changes_reconciles(pipeline: Pipeline) -> None:
    with pipeline.database.connect() as connection:
        create(connection, pipeline.database.name)
        workload = Workload(connection, seed=3)
        with pipeline.running() as told:
            workload.transactions(30)
            # A wish older than a table's copy has been granted by it.
            wait_until(lambda: sum(isinstance(event, Copied) for event in told) == len(TABLES), "the first copies")
            request_resync(pipeline.config, (), reason="test")
            workload.transactions(30)
            wait_until(lambda: sum(isinstance(event, Copied) for event in told) == 2 * len(TABLES), "the second copies")
            workload.transactions(30)
            found = pipeline.reconcile()

    assert found.mismatches == 0


def test_a_dropped_connection_is_waited_for_and_nothing_is_lost(pipeline: Pipeline) -> None:
    with pipeline.database.connect() as connection:
        create(connection, pipeline.database.name)
        workload = Workload(connection, seed=4)
        with pipeline.running() as told:
            wait_until(lambda: any(isinstance(event, Streaming) for event in told), "streaming")
            for _ in range(3):
                workload.transactions(15)
                connection.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
                    (pipeline.database.name,),
                )
                streams = sum(isinstance(event, Streaming) for event in told)
                wait_until(lambda: sum(isinstance(e, Streaming) for e in told) > streams, "streaming again")  # noqa: B023
            found = pipeline.reconcile()

    assert any(isinstance(event, Waiting) for event in told)
    assert found.mismatches == 0


def test_a_type_that_only_postgresql_prints_joins_in_mid_stream_and_a_broken_text_session_comes_back(
    pipeline: Pipeline,
) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)", f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t"
    )
    with pipeline.running() as told:
        wait_until(lambda: any(isinstance(event, Streaming) for event in told), "streaming")
        pipeline.database.execute(
            "CREATE TABLE prices (id int PRIMARY KEY, p money)",
            f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE prices",
            "INSERT INTO prices VALUES (1, 1.5)",
        )
        wait_until(lambda: "streaming as text" in str(told), "going over to text")
        for number in range(2):
            streams = sum(isinstance(event, Streaming) for event in told)
            pipeline.database.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                f" WHERE slot_name = '{pipeline.database.name}' AND active",
                f"INSERT INTO prices VALUES ({number + 2}, 2.5)",
                f"INSERT INTO t VALUES ({number}, 'x')",
            )
            wait_until(lambda: sum(isinstance(e, Streaming) for e in told) > streams, "streaming again")  # noqa: B023
        found = pipeline.reconcile()

    assert found.mismatches == 0
    assert {str(name): table.lake_rows for name, table in found.tables.items()} == {"public.t": 2, "public.prices": 3}


def test_a_slot_made_anew_behind_the_lake_is_refused(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY)", f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t"
    )
    pipeline.drain()
    drop_slot(pipeline.database.dsn, pipeline.database.name)
    pipeline.database.execute("INSERT INTO t VALUES (1)")
    ensure_slot(pipeline.database.dsn, pipeline.database.name)

    with pytest.raises(SlotLost, match="what lies between is gone"):
        pipeline.drain()
