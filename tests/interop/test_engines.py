"""Engines that know nothing of us read our tables: equal by value, version by version, on files and on S3."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.root import LakeRoot
from lakehouse.table_state import load
from lakehouse.writer import LakeWriter
from tests.interop.every_type import EVERY_TYPE, every_type, values
from tests.interop.stories import MANY, hidden_rows_story
from tests.lakehouse.bulk import BulkSource
from tests.lakehouse.readers import READERS

OWN = ("_valid_from_lsn", "_valid_from")


@pytest.mark.parametrize("read", READERS)
def test_every_lake_type_reads_the_same_at_its_ends(lake_root: LakeRoot, read: Any) -> None:
    source, writer = BulkSource(), LakeWriter.open(lake_root, "main")
    rows = every_type()
    writer.append_copy(source.copy(EVERY_TYPE, rows))
    source.commit(EVERY_TYPE, "update", rows.slice(2, 5))
    made = source.cut(writer)

    table = read(lake_root, lake_root.uri("current", EVERY_TYPE.name), made.versions[EVERY_TYPE.name])

    assert values(table.drop_columns(OWN)) == values(rows)


@pytest.mark.parametrize("read", READERS)
def test_every_version_reads_the_same_with_vectors_in_the_commit_and_in_files(lake_root: LakeRoot, read: Any) -> None:
    story = hidden_rows_story(lake_root)

    for version, rows in story.items():
        table = read(lake_root, lake_root.uri("current", MANY.name), version)
        assert values(table.drop_columns(OWN)) == values(rows), version


def test_the_story_holds_both_kinds_of_vectors(local_root: LakeRoot) -> None:
    story = hidden_rows_story(local_root)

    kinds = set()
    for version in story:
        body = local_root.store().get(f"current/public/many/_delta_log/{version:020}.json")
        adds = [action["add"] for action in map(json.loads, (body or b"").splitlines()) if "add" in action]
        kinds |= {add["deletionVector"]["storageType"] for add in adds if add.get("deletionVector")}
    assert kinds == {"i", "u"}


@pytest.mark.parametrize("kind", ["current", "changelog"])
def test_no_table_asks_more_of_a_reader_than_docs_interop_says(local_root: LakeRoot, kind: Any) -> None:
    hidden_rows_story(local_root)
    store = local_root.store()

    def protocol(path: str) -> dict[str, Any]:
        body = store.get(f"{path}/_delta_log/{0:020}.json") or b""
        return next(action["protocol"] for action in map(json.loads, body.splitlines()) if "protocol" in action)

    asked = protocol(f"{kind}/public/many")

    if kind == "current":
        assert (asked["minReaderVersion"], asked["readerFeatures"]) == (3, ["deletionVectors"])
    else:
        assert (asked["minReaderVersion"], asked["minWriterVersion"]) == (1, 2)
    for shared in ("transactions", "cuts"):
        assert protocol(shared)["minReaderVersion"] == 1
    assert load(store, f"{kind}/public/many", "many").exists
    assert pa.types.is_int64(load(store, f"{kind}/public/many", "many").schema.field("id").type)
