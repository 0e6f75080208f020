"""Where a lake may lie."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse.errors import LakeUnreachable
from lakehouse.root import LakeRoot
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, delete, update


@pytest.mark.parametrize("folder", ["/srv/a%b", "/srv/a=b", "/srv/a\tb", "/srv/a\\b"])
def test_a_folder_whose_name_some_reader_takes_for_something_else_is_refused(folder: str) -> None:
    with pytest.raises(LakeUnreachable, match="may not hold"):
        LakeRoot(folder)


@pytest.mark.parametrize("folder", ["my lake", "履歴", "a'b;c,d", "[x]{y}*?", "a+b&c#d"])
def test_a_lake_in_a_folder_of_any_other_name_is_written_and_read(tmp_path: Path, folder: str) -> None:
    root = LakeRoot(str(tmp_path / folder))
    root.check()
    lake = LiveLake(root)
    before = lake.first_cut.cut_lsn
    lake.commit(update(USERS, id=1, name="other", bio=None))
    lake.cut()
    lake.commit(delete(USERS, id=2))

    reader = lake.read()
    question = f"SELECT id, name FROM {USERS.name} ORDER BY id"
    seen = [reader.sql(question, at=at, plan=None).arrow.to_pylist() for at in (before, None, "now")]
    rows = reader.rows(USERS.name, reader.at()).collect().sort("id")

    old, new = [{"id": n, "name": f"n{n}"} for n in range(3)], {"id": 1, "name": "other"}
    assert seen == [old, [old[0], new, old[2]], [old[0], new]]
    assert rows.select("id", "name").to_dicts() == seen[1]
    life = reader.trace(USERS.name, "1")
    assert [change.op for change in life] == ["copy", "update"]
    assert all(change.file.startswith("_commit_date=") for change in life)


def test_an_ordinary_folder_is_taken() -> None:
    assert LakeRoot("file:///srv/lake-1_2.d").url == "/srv/lake-1_2.d"


def test_a_folder_that_one_thread_empties_is_there_for_what_another_writes_beside_it(tmp_path: Path) -> None:
    store = LakeRoot(str(tmp_path / "lake")).store()

    def come_and_go(table: str) -> None:
        for number in range(100):
            store.put(f"current/public/{table}/{number}", b"rows")
            store.remove(f"current/public/{table}/{number}")

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(come_and_go, ("bag", "keyed")))

    assert not (tmp_path / "lake" / "current").exists()
