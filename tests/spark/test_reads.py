"""Apache Spark reads what we write, current and past, and what it leaves behind is read by everybody else."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.errors import TwoWriters
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.interop.every_type import EVERY_TYPE, every_type, values
from tests.interop.stories import MANY, hidden_rows_story, many
from tests.lakehouse.bulk import BulkSource
from tests.lakehouse.readers import READERS, with_delta_rs, with_polars

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PAST_OF_VACUUM = "spark.databricks.delta.vacuum.enforceTimeTravelWithinDeletedFileRetentionDuration"
OWN = ("_valid_from_lsn", "_valid_from")


def read(spark: Any, uri: str, **options: str | int) -> pa.Table:
    return spark.read.format("delta").options(**options).load(uri).toArrow()


def test_every_version_by_its_number_as_all_others_read_it(spark: Any, lake_root: LakeRoot) -> None:
    story = hidden_rows_story(lake_root)
    uri = lake_root.uri("current", MANY.name)

    for version, rows in story.items():
        found = read(spark, uri, versionAsOf=version)
        assert values(found.drop_columns(OWN)) == values(rows), version
        assert values(found) == values(with_polars(lake_root, uri, version)), version
    assert values(read(spark, uri)) == values(with_delta_rs(lake_root, uri))


def test_a_filter_and_a_count_hold_with_vectors(spark: Any, lake_root: LakeRoot) -> None:
    story = hidden_rows_story(lake_root)
    last = story[max(story)]
    frame = spark.read.format("delta").load(lake_root.uri("current", MANY.name))

    assert frame.count() == last.num_rows
    assert frame.filter("id = 7").count() == 0
    third = {row["id"] for row in last.to_pylist() if row["name"].startswith("third") and row["id"] < 100}
    assert {row.id for row in frame.filter("name LIKE 'third%' AND id < 100").select("id").collect()} == third


def test_every_lake_type_at_its_ends(spark: Any, lake_root: LakeRoot) -> None:
    source, writer = BulkSource(), LakeWriter.open(lake_root, "main")
    rows = every_type()
    writer.append_copy(source.copy(EVERY_TYPE, rows))
    source.commit(EVERY_TYPE, "update", rows.slice(2, 5))
    source.cut(writer)

    found = read(spark, lake_root.uri("current", EVERY_TYPE.name))

    assert values(found.drop_columns(OWN)) == values(rows)


def test_infinite_times_compare_as_later_and_earlier_than_all_others(spark: Any, local_root: LakeRoot) -> None:
    source, writer = BulkSource(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(EVERY_TYPE, every_type()))
    source.cut(writer)
    frame = spark.read.format("delta").load(local_root.uri("current", EVERY_TYPE.name))

    def ids(where: str) -> list[int]:
        return sorted(row.id for row in frame.filter(where).select("id").collect())

    assert ids("moment > timestamp'9999-12-31 23:59:59.999999'") == [4, 7]
    assert ids("moment < timestamp'0001-01-01'") == [5]
    assert ids("day > date'9999-12-31'") == [4]
    assert ids("day < date'0001-01-01'") == [5, 7]


@pytest.mark.parametrize("kind", ["changelog", "transactions", "cuts"])
def test_what_else_the_lake_keeps(spark: Any, lake_root: LakeRoot, kind: Any) -> None:
    hidden_rows_story(lake_root)
    uri = lake_root.uri("changelog", MANY.name) if kind == "changelog" else lake_root.uri_of(kind)

    found = read(spark, uri).to_pylist()

    assert sorted(map(repr, found)) == sorted(map(repr, with_delta_rs(lake_root, uri).to_pylist()))


def test_a_time_means_the_version_that_was_newest_then_and_one_outside_is_refused(
    spark: Any, local_root: LakeRoot
) -> None:
    from pyspark.errors import AnalysisException

    story = hidden_rows_story(local_root)
    uri = local_root.uri("current", MANY.name)
    # Delta goes by the times of the log's files: as if a cut had been made each day.
    first = datetime(2025, 9, 28, 12, tzinfo=UTC)
    for version in story:
        written = (first + timedelta(days=version)).timestamp()
        os.utime(Path(uri) / "_delta_log" / f"{version:020}.json", (written, written))

    # Since Delta 4 Spark reads nothing older than the time after which VACUUM may delete: a week unless set.
    with pytest.raises(AnalysisException, match="BEYOND_DELETED_FILE_RETENTION"):
        read(spark, uri, timestampAsOf="2025-10-01")
    spark.conf.set(PAST_OF_VACUUM, "false")
    for version, rows in story.items():
        asked = (first + timedelta(days=version)).strftime("%Y-%m-%d %H:%M:%S")
        assert values(read(spark, uri, timestampAsOf=asked).drop_columns(OWN)) == values(rows), version
    assert values(read(spark, uri, timestampAsOf="2025-10-01").drop_columns(OWN)) == values(story[2])
    for outside in ("2025-09-28 11:59:59", "2025-10-01 12:00:01"):
        with pytest.raises(AnalysisException, match="DELTA_TIMESTAMP"):
            read(spark, uri, timestampAsOf=outside)
    spark.conf.unset(PAST_OF_VACUUM)


@pytest.mark.parametrize("deed", ["OPTIMIZE", "REORG PURGE", "VACUUM"])
def test_a_copy_that_spark_has_tidied_still_says_the_same(spark: Any, local_root: LakeRoot, deed: str) -> None:
    story = hidden_rows_story(local_root)
    uri = f"{local_root.url}/copy/of/many"
    shutil.copytree(local_root.uri("current", MANY.name), uri)
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")

    if deed in ("OPTIMIZE", "VACUUM"):
        spark.sql(f"OPTIMIZE delta.`{uri}`")
    if deed == "REORG PURGE":
        spark.sql(f"REORG TABLE delta.`{uri}` APPLY (PURGE)")
    if deed == "VACUUM":
        before = len(list(Path(uri).glob("*.parquet")))
        spark.sql(f"VACUUM delta.`{uri}` RETAIN 0 HOURS")
        assert len(list(Path(uri).glob("*.parquet"))) < before

    expected = values(story[max(story)])
    assert values(read(spark, uri).drop_columns(OWN)) == expected
    for other in READERS:
        assert values(other(local_root, uri, None).drop_columns(OWN)) == expected, other.__name__
    # What our own writer left is untouched, and still has all of its past.
    for version, rows in story.items():
        assert values(with_polars(local_root, local_root.uri("current", MANY.name), version).drop_columns(OWN)) == (
            values(rows)
        )


def test_a_table_that_spark_wrote_to_is_refused_by_the_writer(spark: Any, local_root: LakeRoot) -> None:
    source, writer = BulkSource(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(MANY, many(range(100))))
    source.cut(writer)
    uri = local_root.uri("current", MANY.name)

    spark.sql(f"DELETE FROM delta.`{uri}` WHERE id = 3")
    source.commit(MANY, "delete", many(range(5)))

    with pytest.raises(TwoWriters, match="version 1"):
        source.cut(writer)
