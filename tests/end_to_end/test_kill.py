"""kill -9 at any moment: nothing lost, nothing twice."""

from __future__ import annotations

import random
import threading

from tests.end_to_end.conftest import Pipeline, kill
from tests.end_to_end.workload import TABLES, Workload, create

SEED = 7


def test_five_kills_of_the_capture_process_lose_nothing_and_double_nothing(pipeline: Pipeline) -> None:
    moments = random.Random(SEED)
    with pipeline.database.connect() as connection, pipeline.database.connect() as authors:
        create(connection, pipeline.database.name)
        workload = Workload(authors, SEED)
        enough = threading.Event()

        def work() -> None:
            while not enough.is_set():
                workload.transaction()

        author = threading.Thread(target=work)
        author.start()
        try:
            for _ in range(5):
                process = pipeline.process()
                assert process.stdout is not None and process.stdout.readline(), process.communicate()
                threading.Event().wait(moments.uniform(0.0, 2.0))
                assert process.poll() is None, process.communicate()
                kill(process)
        finally:
            enough.set()
            author.join()

    with pipeline.running():
        found = pipeline.reconcile()

    assert found.mismatches == 0
    lake = pipeline.lake()
    for table in TABLES:
        changes = f'changelog."public.{table}"'
        (row,) = lake.sql(
            f"SELECT count(*) AS n, count(DISTINCT (_commit_lsn, _ordinal)) AS distinct_n FROM {changes}"
        ).arrow.to_pylist()
        assert row["n"] == row["distinct_n"] > 0
    (row,) = lake.sql(
        "SELECT count(*) AS n, count(DISTINCT commit_lsn) AS distinct_n FROM rireki.transactions"
    ).arrow.to_pylist()
    assert row["n"] == row["distinct_n"] > 0
