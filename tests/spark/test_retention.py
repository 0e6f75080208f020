"""What Spark makes of a lake whose old versions were thinned out, and of tables without deletion vectors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lakehouse.lake import Lake
from lakehouse.retained import Retained
from lakehouse.root import LakeRoot
from lakehouse.thinning import boundaries
from lakehouse.writer import LakeWriter
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, delete, insert, update
from tests.lakehouse.test_retention import TOKYO, thinned
from tests.spark.test_reads import read

# A data file that is gone; a version that the log no longer tells.
REFUSALS = ("FILE_NOT_EXIST", "DELTA_", "Did not get the last delta file version")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def names(spark: Any, root: LakeRoot, **options: str | int) -> list[str]:
    rows = read(spark, root.uri("current", USERS.name), **options).to_pylist()
    return [row["name"] for row in sorted(rows, key=lambda row: row["id"])]


def test_a_promised_day_is_read_by_its_date_and_by_its_version(spark: Any, local_root: LakeRoot) -> None:
    years = thinned(local_root)
    versions = Lake.open(local_root).versions(USERS.name)
    asked = [time for time in boundaries(TOKYO, years.states[-1][0]) if time > years.states[0][0]]

    for boundary in asked[:: max(1, len(asked) // 6)]:
        version = max(one.version for one in versions if one.from_time <= boundary)
        assert names(spark, local_root, versionAsOf=version) == years.state_at(boundary)
        assert names(spark, local_root, timestampAsOf=f"{boundary:%Y-%m-%d %H:%M:%S}") == years.state_at(boundary)


def test_a_moment_between_two_kept_versions_is_refused_and_never_the_older_one(
    spark: Any, local_root: LakeRoot
) -> None:
    years = thinned(local_root)
    held = Retained.read(local_root.store(), USERS.name)
    gone = [version for version in range(1, held.since) if not held.keeps(version)]
    assert len(gone) > 10

    def refused_or_exact(version: int, **options: str | int) -> None:
        try:
            found = names(spark, local_root, **options)
        except Exception as error:
            assert any(sign in str(error) for sign in REFUSALS), error
        else:
            assert found == years.states[version][1], options

    for version in gone[:: len(gone) // 6]:
        refused_or_exact(version, versionAsOf=version)
        written = years.states[version][0] + timedelta(seconds=1, milliseconds=500)
        refused_or_exact(version, timestampAsOf=f"{written:%Y-%m-%d %H:%M:%S.%f}")


def test_a_table_without_vectors_and_its_way_there_and_back(spark: Any, lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    told: dict[int, list[str]] = {}
    for number, copy_on_write in enumerate(([], [USERS.name], [USERS.name], [])):
        live.writer.close()
        live.writer = LakeWriter.open(lake_root, "main", copy_on_write=copy_on_write)
        live.commit(
            update(USERS, id=1, name=f"new {number}", bio="b"),
            insert(USERS, id=10 + number, name=f"n{number}", bio="b"),
            insert(USERS, id=20 + number, name="short-lived", bio="b"),
        )
        live.cut()
        live.commit(delete(USERS, id=20 + number))
        rows = live.read().sql("SELECT name FROM public.users ORDER BY id", at=live.cut().cut_lsn).arrow
        told[live.writer._tables[USERS.name].current.version] = rows["name"].to_pylist()

    for version, expected in told.items():
        assert names(spark, lake_root, versionAsOf=version) == expected
    assert names(spark, lake_root) == told[max(told)]
