"""A store that doesn't answer: the walsender stays, nothing is lost, and whoever asks us to stop isn't kept waiting."""

from __future__ import annotations

import json
import signal
import time

import pytest

from pipelines import failpoints
from pipelines.progress import Durable, Waiting
from tests.end_to_end.conftest import PATIENCE_S, Pipeline, wait_until

STALL_S = 30


def walsender(pipeline: Pipeline) -> int | None:
    """The process that serves the slot, and serves it still."""
    found = pipeline.database.rows(
        f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{pipeline.database.name}'"
    )
    return found[0][0] if found else None


def make_table(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, pad text)",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    pipeline.drain()


def test_a_store_blocked_for_thirty_seconds_costs_no_connection_and_no_row(pipeline: Pipeline) -> None:
    make_table(pipeline)
    pipeline.database.execute(f"ALTER DATABASE {pipeline.database.name} SET wal_sender_timeout = '2s'")
    failpoints.arm(f"changelog.file.before=stall{STALL_S}")

    with pipeline.running() as told:
        wait_until(lambda: walsender(pipeline) is not None, "capture connects")
        pid, began = walsender(pipeline), time.monotonic()
        pipeline.database.execute("INSERT INTO t VALUES (0, 'stalls')")
        # More than all buffers hold, so that the stream is pushed back, too.
        for first in range(1, 400_001, 100_000):
            pipeline.database.execute(
                f"INSERT INTO t SELECT i, repeat('x', 700) FROM generate_series({first}, {first + 99_999}) i"
            )
        rows = lambda: sum(event.rows for event in told if isinstance(event, Durable))  # noqa: E731
        deadline = began + STALL_S - 5
        while time.monotonic() < deadline:
            assert walsender(pipeline) == pid, told
            assert rows() == 0
            time.sleep(0.5)
        wait_until(lambda: rows() == 400_001, "the stream goes on")

        assert walsender(pipeline) == pid
        assert not [event for event in told if isinstance(event, Waiting)]


@pytest.mark.parametrize("stalled", [False, True], ids=["answering", "blocked"])
def test_who_is_told_to_stop_stops_within_five_seconds_and_goes_on_later(pipeline: Pipeline, stalled: bool) -> None:
    make_table(pipeline)
    if stalled:
        pipeline.environment[failpoints.VARIABLE] = "changelog.commit.before=stall300"
    process = pipeline.process("--json")
    try:
        said = iter(process.stdout or ())
        while json.loads(next(said))["event"] != "streaming":
            pass
        pipeline.database.execute("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 5000) i")
        if not stalled:
            while json.loads(next(said))["event"] != "durable":
                pass
        time.sleep(1.0 if stalled else 0.0)  # until the batch is in the store's hands

        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = process.wait(PATIENCE_S)
        took_s = time.monotonic() - began
    finally:
        process.kill()
        process.communicate()

    assert (code, took_s < 5.0) == (0, True), took_s
    pipeline.environment.pop(failpoints.VARIABLE, None)
    pipeline.drain()
    with pipeline.running():
        assert pipeline.reconcile().mismatches == 0
    (row,) = pipeline.lake().sql('SELECT count(*) AS n FROM changelog."public.t"').arrow.to_pylist()
    assert row["n"] == 5001  # with the mark that begins the copy of the empty table
