"""kill -9 before and after every commit and every confirmation: each row once, by value."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cdc.slot import beat
from pipelines import failpoints
from pipelines.failpoints import POINTS
from tests.end_to_end.conftest import Pipeline
from tests.end_to_end.workload import TABLES, Workload, create
from tests.soak.child import Child


def test_a_kill_at_each_failpoint_loses_nothing_and_applies_each_row_once(pipeline: Pipeline, tmp_path: Path) -> None:
    with pipeline.database.connect() as connection:
        create(connection, pipeline.database.name)
        workload = Workload(connection, seed=11)
        for point in POINTS:
            workload.transactions(5)
            until = str(beat(pipeline.config.conninfo()))
            child = Child(
                pipeline.config.file, tmp_path / "log", failpoint=f"{point}=kill", until=until, **pipeline.environment
            )
            assert child.wait(60) == -signal.SIGKILL, (point, child.words())
        pipeline.drain()

        with pipeline.running():
            found = pipeline.reconcile()

    assert found.mismatches == 0
    for table in TABLES:
        query = f'SELECT count(*) AS n, count(DISTINCT (_commit_lsn, _ordinal)) AS d FROM changelog."public.{table}"'
        (row,) = pipeline.lake().sql(query).arrow.to_pylist()
        assert row["n"] == row["d"] > 0


def test_what_is_not_a_failpoint_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"confirm\.between"):
        failpoints.arm("confirm.between=kill")


def test_no_failpoint_is_armed_and_the_store_is_the_plain_one(pipeline: Pipeline) -> None:
    root = pipeline.config.lake_root()

    assert failpoints.watched(root) is root
