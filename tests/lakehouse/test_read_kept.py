"""A reader that stays: what it keeps, and how it notices that the lake has gone on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.store import LocalStore
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, update

NAME = "SELECT name FROM public.users WHERE id = 0"


def name_in(lake: Lake) -> str:
    return str(lake.sql(NAME).arrow["name"][0])


@pytest.fixture
def live(tmp_path: Path) -> LiveLake:
    return LiveLake(LakeRoot(str(tmp_path / "lake")))


def test_a_lake_asked_twice_reads_no_log_and_no_data_file_again(
    live: LiveLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.commit(update(USERS, id=0, name="changed", bio="b"))
    live.cut()
    lake = live.read()
    assert name_in(lake) == "changed"
    read: list[str] = []
    get = LocalStore.get

    def noting(store: LocalStore, path: str) -> bytes | None:
        body = get(store, path)
        read.extend([path] if body is not None else [])
        return body

    monkeypatch.setattr(LocalStore, "get", noting)

    answer = name_in(lake)

    logs = [path for path in read if "_delta_log" in path]
    assert answer == "changed"
    assert len(logs) == len(set(logs)) == 3  # the newest commit of cuts, transactions and the changelog: still there
    assert not [path for path in read if path.endswith((".parquet", "_last_checkpoint"))]


def test_a_lake_kept_open_sees_every_later_cut(live: LiveLake) -> None:
    lake, seen = live.read(), []

    for number in range(3):
        live.commit(update(USERS, id=0, name=f"v{number}", bio="b"))
        live.cut()
        seen.append(name_in(lake))

    assert seen == ["v0", "v1", "v2"]


def test_a_lake_kept_open_goes_on_after_the_log_behind_it_was_cleaned_away(live: LiveLake, tmp_path: Path) -> None:
    lake = live.read()
    name_in(lake)
    for number in range(100):
        live.commit(update(USERS, id=0, name=f"v{number}", bio="b"))
        live.cut()
    live.writer.close()  # waits for the checkpoints
    for log in (tmp_path / "lake").rglob("_delta_log"):
        checkpoint = max((int(path.name[:20]) for path in log.glob("*.checkpoint.parquet")), default=0)
        for commit in log.glob("*.json"):
            if commit.stem.isdigit() and int(commit.stem) < checkpoint:
                commit.unlink()

    assert name_in(lake) == "v99"
