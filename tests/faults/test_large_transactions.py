"""Transactions that memory shouldn't hold, killed and cut off in the middle: whole, once, and never half."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cdc.slot import beat
from pipelines import config as configuration
from pipelines import failpoints
from pipelines.capture import Capture
from pipelines.progress import Progress, Replaying
from tests.end_to_end.conftest import Pipeline
from tests.soak.child import Child

FILL = "INSERT INTO {} SELECT i, repeat('x', 300), 'n' FROM generate_series({}, {}) i"


def make_tables(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        *(f"CREATE TABLE {table} (id int PRIMARY KEY, pad text, name text)" for table in ("one", "two")),
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE one, two",
    )
    small = pipeline.config.file.read_text().replace("[capture]", "[capture]\nmax_batch_bytes = 1000000")
    pipeline.config.file.write_text(small)
    pipeline.config = configuration.load(pipeline.config.file)


def send_ahead(pipeline: Pipeline, memory: str) -> None:
    with pipeline.database.connect() as connection:
        connection.execute(f"ALTER DATABASE {pipeline.database.name} SET logical_decoding_work_mem = '{memory}'")


def large_transaction(pipeline: Pipeline, first: int) -> None:
    """Some 10 MB in two tables, with a savepoint rolled back, rows changed again, and a bystander in between."""
    with pipeline.database.connect(autocommit=False) as connection:
        connection.execute(FILL.format("one", first, first + 11_999))
        connection.execute("SAVEPOINT s")
        connection.execute("DELETE FROM two")
        connection.execute("UPDATE one SET name = 'wrong'")
        pipeline.database.execute(FILL.format("two", first, first + 9))
        connection.execute("ROLLBACK TO SAVEPOINT s")
        connection.execute(FILL.format("two", first + 1_000, first + 7_999))
        connection.execute(f"UPDATE one SET name = 'again' WHERE id % 3 = 0 AND id >= {first}")
        connection.execute(f"DELETE FROM one WHERE id % 100 = 0 AND id >= {first}")
        connection.commit()


@pytest.mark.parametrize("memory", ["64kB", "1GB"], ids=["sent ahead", "sent at its commit"])
def test_a_large_transaction_killed_anywhere_is_there_once_and_whole(
    pipeline: Pipeline, tmp_path: Path, memory: str
) -> None:
    make_tables(pipeline)
    pipeline.drain()
    send_ahead(pipeline, memory)
    first = 0
    points = ("changelog.file.after=kill@3", "changelog.commit.before=kill@2", "transactions.commit.before=kill@2")
    for point in (*points, "current.file.after=kill@3", "current.commit.before=kill@2", "confirm.after=kill@2"):
        large_transaction(pipeline, first)
        first += 100_000
        until = str(beat(pipeline.config.conninfo()))
        child = Child(pipeline.config.file, tmp_path / "log", failpoint=point, until=until, **pipeline.environment)
        assert child.wait(60) == -signal.SIGKILL, (point, child.words())
    told: list[Progress] = []
    Capture(pipeline.config, told.append).drain(beat(pipeline.config.conninfo()))

    with pipeline.running():
        found = pipeline.reconcile()

    assert found.mismatches == 0
    for table in ("one", "two"):
        query = f'SELECT count(*) AS n, count(DISTINCT (_commit_lsn, _ordinal)) AS d FROM changelog."public.{table}"'
        (row,) = pipeline.lake().sql(query).arrow.to_pylist()
        assert row["n"] == row["d"] > 30_000
    versions = pipeline.lake().sql("SELECT count(*) AS n FROM rireki.transactions WHERE rows > 20000").arrow
    assert versions.to_pylist() == [{"n": 6}]
    assert any(isinstance(event, Replaying) for event in told)


def test_a_connection_cut_in_the_middle_leaves_no_file_of_the_first_attempt(pipeline: Pipeline) -> None:
    root = pipeline.config.lake_root()
    if not root.is_local:
        pytest.skip("counts files on disk")
    make_tables(pipeline)
    pipeline.drain()
    send_ahead(pipeline, "64kB")
    pipeline.database.execute(FILL.format("one", 1, 40_000))

    failpoints.arm("changelog.file.before=cut@3")
    pipeline.drain()

    with pipeline.running():
        assert pipeline.reconcile().mismatches == 0
    folder = Path(root.url) / "changelog" / "public" / "one"
    live = sum(commit.read_text().count('"add":') for commit in (folder / "_delta_log").glob("*.json"))
    assert live >= 3
    assert len(list(folder.glob("*/*.parquet"))) == live
