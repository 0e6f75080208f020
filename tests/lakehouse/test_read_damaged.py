"""A lake that somebody or something has damaged: the reader says what, and never answers with something near."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.errors import CorruptCommit, HistoryIncomplete
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, update

NAMES = "SELECT name FROM public.users ORDER BY id"


@pytest.fixture
def live(tmp_path: Path) -> LiveLake:
    live = LiveLake(LakeRoot(str(tmp_path / "lake")))
    for number in range(3):
        live.commit(update(USERS, id=0, name=f"v{number}", bio="b"))
        live.cut()
    return live


def commits(live: LiveLake, table: str) -> list[Path]:
    return sorted(Path(live.root.url, table, "_delta_log").glob("*.json"))


TABLES = pytest.mark.parametrize("table", ["cuts", "transactions", "changelog/public/users", "current/public/users"])


@TABLES
@pytest.mark.parametrize("kept", [False, True])
def test_a_half_written_commit_is_named(live: LiveLake, table: str, kept: bool) -> None:
    lake = Lake.open(live.root)
    if kept:
        lake.sql(NAMES)
        live.commit(update(USERS, id=0, name="v3", bio="b"))
        live.cut()
    newest = commits(live, table)[-1]
    newest.write_bytes(newest.read_bytes()[:-30])

    with pytest.raises(CorruptCommit) as said:
        lake.sql(NAMES)

    assert said.value.fix


@TABLES
def test_a_commit_that_is_missing_between_others_is_named(live: LiveLake, table: str) -> None:
    commits(live, table)[1].unlink()

    with pytest.raises((CorruptCommit, HistoryIncomplete)) as said:
        Lake.open(live.root).sql(NAMES)

    assert said.value.fix


@pytest.mark.parametrize("kept", [False, True])
def test_a_data_file_that_somebody_removed_is_said_even_to_a_reader_that_knew_it(live: LiveLake, kept: bool) -> None:
    lake = Lake.open(live.root)
    if kept:
        lake.sql("SELECT max(id) FROM public.users")
    for file in Path(live.root.uri("current", USERS.name)).glob("*.parquet"):
        file.unlink()

    with pytest.raises(HistoryIncomplete) as said:
        lake.sql(NAMES)

    assert said.value.fix
