"""Delta's in-commit timestamps, which we don't write: who would read such a table, and by which clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from lakehouse.root import LakeRoot
from tests.lakehouse.readers import READERS
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, update

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


def test_every_engine_reads_such_a_table_and_delta_rs_finds_times_by_another_clock(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    for number in range(3):
        live.commit(update(USERS, id=number, name=f"new{number}", bio="b"))
        live.cut()
    uri = local_root.uri("current", USERS.name)
    for version, path in enumerate(sorted((Path(uri) / "_delta_log").glob("*.json"))):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps(with_timestamp(line, version)) for line in lines))

    for read in READERS:
        names = [sorted(read(local_root, uri, version)["name"].to_pylist()) for version in (1, None)]
        assert names == [["n1", "n2", "new0"], ["new0", "new1", "new2"]]
    table = DeltaTable(uri)
    table.load_as_version(LONG_AGO + timedelta(days=1, hours=12))
    assert table.version() == 0  # by the commits it would be 1; docs/interop.md says why we go without


def with_timestamp(action: dict[str, Any], version: int) -> dict[str, Any]:
    if "commitInfo" in action:
        at = LONG_AGO + timedelta(days=version)
        action["commitInfo"]["inCommitTimestamp"] = int(at.timestamp() * 1000)
    if "protocol" in action:
        action["protocol"]["writerFeatures"].append("inCommitTimestamp")
    if "metaData" in action:
        action["metaData"]["configuration"]["delta.enableInCommitTimestamps"] = "true"
    return action
