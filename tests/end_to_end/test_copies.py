"""Copies of large tables: side by side, begun again where they broke off, told while they run, and never half there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cdc import copy as copying
from cdc.batch import TableCopy
from cdc.relation import TableName
from cdc.slot import beat
from lakehouse.changelog import StagedCopy
from lakehouse.errors import LakeEmpty
from lakehouse.writer import LakeWriter
from pipelines.capture import Capture
from pipelines.progress import Copied, Copying, Progress, Streaming, Waiting
from pipelines.resync import request_resync
from pipelines.status import CopyStanding, TableState, status_of
from tests.end_to_end.conftest import Pipeline, wait_until

COPIES = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'rireki copy %'"


@pytest.fixture
def large(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A table of many parts."""
    monkeypatch.setattr(copying, "_PART_BLOCKS", 4)
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(8,2))",
        "INSERT INTO t SELECT x, repeat('x', 60), CASE WHEN x % 997 = 0 THEN 'NaN' ELSE x::numeric END"
        " FROM generate_series(1, 3000) x",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    return pipeline


class Slowly(list[Progress]):
    """Events, each of a copy's parts handed over only once somebody lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def append(self, event: Progress) -> None:
        super().append(event)
        if isinstance(event, Copying):
            assert self.go_on.wait(60)


@contextmanager
def copied_slowly(pipeline: Pipeline) -> Iterator[tuple[Slowly, threading.Event]]:
    """A capture whose copy's first parts wait until the table is locked; then the others do."""
    told, stop, failed = Slowly(), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            Capture(pipeline.config, told.append).run(stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told, stop
    finally:
        told.go_on.set()
        stop.set()
        thread.join(60)
    assert not failed, failed
    assert not thread.is_alive()


@contextmanager
def in_the_middle(pipeline: Pipeline, told: Slowly) -> Iterator[None]:
    """Within this, the workers wait for a lock on the table, with some parts done and most not."""
    wait_until(lambda: sum(isinstance(event, Copying) for event in told) == 2, "the first parts")
    with pipeline.database.connect(autocommit=False) as connection:
        connection.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        told.go_on.set()
        wait_until(
            lambda: pipeline.database.rows(f"SELECT count(*) {COPIES} AND wait_event_type = 'Lock'") == [(2,)],
            "two workers that wait",
        )
        yield
        connection.rollback()


def test_parts_whose_connections_break_are_begun_again_and_the_copy_is_exact(large: Pipeline) -> None:
    with copied_slowly(large) as (told, _):
        with in_the_middle(large, told):
            assert large.database.rows(f"SELECT pg_terminate_backend(pid) {COPIES}") == [(True,), (True,)]
            wait_until(lambda: sum("this part of a copy again" in str(event) for event in told) == 2, "the waiting")
        found = large.reconcile()

    assert [event.rows for event in told if isinstance(event, Copied)] == [3000]
    assert (found.mismatches, found.tables[TableName("public", "t")].lake_rows) == (0, 3000)


def test_a_copy_that_is_stopped_in_the_middle_leaves_nothing_and_the_next_start_makes_it(large: Pipeline) -> None:
    with copied_slowly(large) as (told, stop), in_the_middle(large, told):
        stop.set()
        wait_until(lambda: not large.database.rows(f"SELECT 1 {COPIES} AND state <> 'idle'"), "the workers' end")

    assert not any(isinstance(event, Copied) for event in told)
    with pytest.raises(LakeEmpty):
        large.lake().at()
    report = Capture(large.config).drain(beat(large.config.conninfo()))
    assert report.tables["public.t"]["rows"] == 3000
    with large.running():
        assert large.reconcile().mismatches == 0


def test_a_snapshot_that_dies_begins_the_copy_anew_by_itself(large: Pipeline) -> None:
    with copied_slowly(large) as (told, _):
        with in_the_middle(large, told):
            large.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'rireki%' AND pid <> pg_backend_pid()"
            )
        found = large.reconcile()

    assert any("snapshot is gone" in str(event) for event in told if isinstance(event, Waiting))
    assert (found.mismatches, found.tables[TableName("public", "t")].lake_rows) == (0, 3000)


def test_status_tells_how_far_a_copy_is(large: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    staging, go_on, stage = list[int](), threading.Event(), LakeWriter.stage_copied

    def slow(writer: LakeWriter, copy: TableCopy) -> StagedCopy:
        staging.append(copy.rows.num_rows)
        assert len(staging) < 5 or go_on.wait(60)
        return stage(writer, copy)

    monkeypatch.setattr(LakeWriter, "stage_copied", slow)
    with large.running() as told:
        wait_until(lambda: len(staging) >= 6, "both workers inside a part")
        status = status_of(large.config)
        go_on.set()
        wait_until(lambda: any(isinstance(event, Copied) for event in told), "the copy")

    name = TableName("public", "t")
    assert status.tables()[name] is TableState.COPYING
    assert status.source is not None
    standing = status.source.copying[name]
    assert isinstance(standing, CopyStanding) and standing.part == 6 < standing.parts
    assert status.as_object()["tables"]["public.t"]["copy"] == {"part": 6, "parts": standing.parts}
    counted = [event for event in told if isinstance(event, Copying)]
    assert sorted(event.parts_done for event in counted) == list(range(1, standing.parts + 1))


def test_a_copy_on_request_leaves_the_stream_going_and_outlives_a_restart(
    large: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = TableName("public", "t")
    staging, go_on, stage = list[int](), threading.Event(), LakeWriter.stage_copied

    def slow(writer: LakeWriter, copy: TableCopy) -> StagedCopy:
        staging.append(copy.rows.num_rows)
        assert len(staging) < 5 or go_on.wait(60)
        return stage(writer, copy)

    large.drain()
    monkeypatch.setattr(LakeWriter, "stage_copied", slow)

    def held(question: str) -> object:
        return large.lake().sql(question).arrow.to_pylist()[0]["n"]

    with large.running() as told:
        wait_until(lambda: any(isinstance(event, Streaming) for event in told), "streaming")
        request_resync(large.config, (name,), reason="test")
        wait_until(lambda: len(staging) >= 6, "both workers inside a part")
        for number in range(3):
            large.database.execute(f"UPDATE t SET v = 'during {number}' WHERE id <= 1000")
            counted = f"SELECT count(*) AS n FROM public.t WHERE v = 'during {number}'"
            wait_until(lambda: held(counted) == 1000, "readers see what came meanwhile")  # noqa: B023
        large.database.execute("DELETE FROM t WHERE id = 1")
        assert not any(isinstance(event, Copied) for event in told)
        ((asked, confirmed),) = large.database.rows(
            "SELECT pg_current_wal_insert_lsn() > confirmed_flush_lsn, confirmed_flush_lsn FROM pg_replication_slots"
            f" WHERE slot_name = '{large.database.name}'"
        )
        assert asked, confirmed
        go_on_later = threading.Timer(0.5, go_on.set)  # once the capture has been told to stop
        go_on_later.start()
    go_on_later.join()
    assert not any(isinstance(event, Copied) for event in told), "it should have been stopped in the middle"

    report = large.drain()

    assert report.tables["public.t"]["rows"] >= 2999
    assert held("SELECT count(*) AS n FROM public.t") == 2999
    assert held("SELECT count(*) AS n FROM changelog.\"public.t\" WHERE _op = 'truncate'") == 2
    with large.running():
        assert large.reconcile().mismatches == 0
