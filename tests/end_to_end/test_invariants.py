"""Value moves between rows of three tables, by several writers at once: at every point of the past its sum is the same.

Half-applied transactions, tables read at different points, a change lost or applied twice: each changes the sum.
"""

from __future__ import annotations

import os
import random
import threading

import pytest

from cdc.lsn import Lsn
from tests.conftest import Database
from tests.end_to_end.conftest import Pipeline, wait_until

TABLES = ("checking", "savings", "vault")
ROWS, AMOUNT = 40, 1_000
WRITERS = 3
MOMENTS = int(os.environ.get("RIREKI_MOMENTS", "100"))
SEED = int(os.environ.get("RIREKI_SEED", "20260131"))
TOTAL = "SELECT " + " + ".join(f"(SELECT coalesce(sum(amount), 0) FROM public.{table})" for table in TABLES)


def create(database: Database) -> None:
    for table in TABLES:
        database.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY, amount bigint NOT NULL)",
            f"INSERT INTO {table} SELECT g, {AMOUNT} FROM generate_series(1, {ROWS}) g",
            f"ALTER PUBLICATION {database.name} ADD TABLE {table}",
        )


class Mover(threading.Thread):
    """Moves value until it is stopped: by updates, by rows that go in one table and come in another, by keys that
    change, and sometimes back again by a rollback.
    """

    def __init__(self, database: Database, number: int, stop: threading.Event) -> None:
        super().__init__()
        self._database, self._stop_moving = database, stop
        self._random, self._next_id = random.Random(SEED + number), 1_000_000 * (number + 1)
        self.moved = 0

    def run(self) -> None:
        with self._database.connect() as connection:
            while not self._stop_moving.is_set():
                with connection.transaction(force_rollback=self._random.random() < 0.1):
                    for statement in self._statements():
                        connection.execute(statement)
                self.moved += 1

    def _statements(self) -> list[str]:
        source, target = self._random.sample(TABLES, 2)
        amount, self._next_id = self._random.randint(1, 50), self._next_id + 1
        # Writers lock one another out of both tables, so that none of them waits for the other's row.
        statements = [f"LOCK TABLE {', '.join(sorted((source, target)))} IN SHARE ROW EXCLUSIVE MODE"]
        some = "(SELECT id FROM {} ORDER BY random() LIMIT 1)"
        match self._random.randrange(4):
            case 0:
                taken = f"DELETE FROM {source} WHERE id = {some.format(source)} RETURNING amount"
                statements.append(
                    f"WITH gone AS ({taken}) INSERT INTO {target} SELECT {self._next_id}, amount FROM gone"
                )
            case 1:
                statements.append(f"UPDATE {source} SET id = {self._next_id} WHERE id = {some.format(source)}")
            case _:
                statements += [
                    f"UPDATE {table} SET amount = amount + {change} WHERE id = (SELECT min(id) FROM {table})"
                    for table, change in ((source, -amount), (target, amount))
                    for _ in range(3)
                ]
        return statements


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_value_that_moves_between_three_tables_is_whole_at_every_cut_and_at_any_lsn(pipeline: Pipeline) -> None:
    create(pipeline.database)
    pipeline.drain()
    first = pipeline.lake().at().cut.cut_lsn
    stop = threading.Event()
    movers = [Mover(pipeline.database, number, stop) for number in range(WRITERS)]

    with pipeline.running():
        for mover in movers:
            mover.start()
        wait_until(lambda: sum(mover.moved for mover in movers) >= 500, "500 transactions")
        stop.set()
        for mover in movers:
            mover.join()
    pipeline.drain()
    lake = pipeline.lake()
    cuts = lake.sql("SELECT DISTINCT cut_lsn FROM rireki.cuts ORDER BY 1").arrow["cut_lsn"].to_pylist()
    chosen = random.Random(SEED)
    lsns = [chosen.randint(first.value, lake.at("now").lsn.value) for _ in range(MOMENTS)]
    wrong = {
        str(lsn): total
        for lsn in map(Lsn, [*cuts, *lsns])
        if (total := int(lake.sql(TOTAL, at=lsn).arrow.column(0)[0].as_py())) != len(TABLES) * ROWS * AMOUNT
    }

    assert not wrong, f"RIREKI_SEED={SEED}: {wrong}"
    assert len(cuts) >= 5
