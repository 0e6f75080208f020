"""Delta's own time travel on ``current``: which version and which timestamp give which source moment."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from cdc.relation import TableName
from lakehouse.errors import UnknownTable
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from tests.lakehouse.readers import with_delta_rs, with_duckdb, with_polars
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, update


def test_a_version_holds_from_its_cut_to_the_last_before_the_next_change(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    first = live.first_cut
    still = live.cut()
    live.commit(update(USERS, id=1, name="new", bio="b1"))
    changed = live.cut()

    found = live.read().versions(USERS.name)

    assert [(one.version, one.from_lsn, one.to_lsn) for one in found] == [
        (0, first.cut_lsn, still.cut_lsn),
        (1, changed.cut_lsn, changed.cut_lsn),
    ]
    assert [one.from_time for one in found] == [first.source_time, changed.source_time]
    assert all(one.readable for one in found)
    assert live.read().versions(USERS.name, last=1) == found[-1:]


def test_every_engine_reads_a_version_as_the_lake_answers_at_its_lsn(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    for number in range(3):
        live.commit(update(USERS, id=1, name=f"new{number}", bio="b1"))
        live.cut()
    lake, uri = live.read(), lake_root.uri("current", USERS.name)

    for version in lake.versions(USERS.name):
        expected = lake.sql("SELECT id, name FROM public.users ORDER BY id", at=version.from_lsn).arrow.to_pylist()
        for read in (with_polars, with_delta_rs, with_duckdb):
            rows = read(lake_root, uri, version.version).select(["id", "name"]).to_pylist()
            assert sorted(rows, key=lambda row: row["id"]) == expected


def test_a_timestamp_means_what_had_been_written_by_then(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    for number in range(3):
        live.commit(update(USERS, id=1, name=f"new{number}", bio="b1"))
        live.cut()
    uri = local_root.uri("current", USERS.name)
    versions = live.read().versions(USERS.name)

    for one, following in zip(versions, [*versions[1:], None], strict=True):
        # Between the two commits' files; the source's clock (January 2026) plays no part.
        modified = [_log_file(uri, each.version).stat().st_mtime for each in (one, following) if each]
        between = datetime.fromtimestamp(sum(modified) / len(modified), UTC)
        table = DeltaTable(uri)
        table.load_as_version(between)
        assert table.version() == one.version
        assert pl.scan_delta(uri, version=between).collect().height == 3


def test_a_copied_lake_keeps_its_versions_but_not_what_timestamps_mean_to_delta_rs(
    local_root: LakeRoot, tmp_path: Path
) -> None:
    live = LiveLake(local_root)
    live.commit(update(USERS, id=1, name="new", bio="b1"))
    live.cut()
    shutil.copytree(local_root.url, tmp_path / "copied", copy_function=shutil.copyfile)
    copied = LakeRoot(str(tmp_path / "copied"))
    long_ago = datetime.now(UTC) - timedelta(days=1)

    table = DeltaTable(copied.uri("current", USERS.name))
    table.load_as_version(long_ago)

    # Before anything was written: it clamps, silently. `rireki versions` is the same in both.
    assert table.version() == 0
    here, there = live.read().versions(USERS.name), Lake.open(copied).versions(USERS.name)
    assert here == there


def test_a_version_whose_file_is_gone_is_said_to_be_unreadable(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.commit(*(update(USERS, id=number, name="new", bio="b") for number in range(3)))
    live.cut()
    store, folder = lake_root.store(), "current/public/users"
    (first,) = DeltaTable(f"{lake_root.url}/{folder}", version=0, storage_options=lake_root.storage_options).file_uris()
    store.remove(f"{folder}/{first.rsplit('/', 1)[-1]}")

    found = live.read().versions(USERS.name)

    assert [one.readable for one in found] == [False, True]


def test_an_unknown_table_has_no_versions(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)

    with pytest.raises(UnknownTable, match="not in this lake"):
        live.read().versions(TableName("public", "nobody"))


def _log_file(uri: str, version: int) -> Path:
    return Path(uri) / "_delta_log" / f"{version:020}.json"
