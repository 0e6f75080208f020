"""Small files are merged beside the stream, and whatever becomes of that, the stream goes on."""

from __future__ import annotations

from pathlib import Path

from lakehouse.compaction import FAN_IN
from lakehouse.root import LakeRoot
from lakehouse.table_state import load
from pipelines.housekeeping import Housekeeping
from tests.end_to_end.conftest import wait_until
from tests.lakehouse.failing import FailAt, FailingRoot
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, insert


def files(root: LakeRoot, table: str) -> int:
    return len(load(root.store(), table, table).files)


def grow(live: LiveLake, first: int, rows: int) -> None:
    for number in range(first, first + rows):
        live.commit(insert(USERS, id=number, name="n", bio="b"))
        live.cut()


def test_files_are_merged_while_batches_and_cuts_go_on(tmp_path: Path) -> None:
    root = LakeRoot(str(tmp_path / "lake"))
    live = LiveLake(root)

    with Housekeeping(live.writer, look_every_s=0.01):
        grow(live, 3, 3 * FAN_IN)
        tables = ("cuts", "current/public/users")
        wait_until(lambda: all(files(root, table) <= FAN_IN + 4 for table in tables), "few files")

    rows = live.read().sql("SELECT count(DISTINCT id) AS n, count(*) AS m FROM public.users").arrow.to_pylist()
    assert rows == [{"n": 3 + 3 * FAN_IN, "m": 3 + 3 * FAN_IN}]


def test_a_store_that_was_away_is_tried_again(tmp_path: Path) -> None:
    root = FailingRoot(str(tmp_path / "lake"), fail=FailAt(-1, "before"))
    live = LiveLake(root)
    grow(live, 3, FAN_IN)
    root.fail.number, root.fail.writes = 0, 0

    with Housekeeping(live.writer, look_every_s=0.01):
        wait_until(lambda: files(root, "cuts") < FAN_IN, "few files")

    assert root.fail.writes > 1
