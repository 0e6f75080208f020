"""The table ``transactions`` of a lake that an older version has begun."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from cdc.batch import TRANSACTIONS_SCHEMA
from cdc.lsn import Lsn
from lakehouse import parquet
from lakehouse.checkpoints import Checkpoints
from lakehouse.log import DeltaLog, marker
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.readers import with_duckdb
from tests.lakehouse.source import USERS, Source, insert

BEFORE = pa.schema([field for field in TRANSACTIONS_SCHEMA if not field.name.startswith("origin")])


def begun_by_an_older_version(root: LakeRoot, *sources: Source) -> None:
    """With a transaction of each of the streams."""
    store = root.store()
    log = DeltaLog(store, "transactions", "transactions", root.uri_of("transactions"), Checkpoints({}))
    actions = log.creation(BEFORE, {})
    for source in sources:
        source.commit(insert(USERS, id=1))
        batch = source.batch()
        rows = parquet.fit(batch.transactions, BEFORE)
        files = parquet.write(store, log.path, rows)
        actions += [marker(f"rireki/{source.stream}", batch.end_lsn.value), *(file.add() for file in files)]
    log.commit(actions, {})


def told(root: LakeRoot) -> list[tuple[int, str | None, int | None]]:
    found = with_duckdb(root, root.uri_of("transactions")).sort_by("commit_lsn").to_pylist()
    return [(row["rows"], row["origin"], row["origin_lsn"]) for row in found]


def test_a_lake_from_before_origins_were_recorded_gets_their_columns_with_the_next_batch(lake_root: LakeRoot) -> None:
    source = Source()
    begun_by_an_older_version(lake_root, source)
    writer = LakeWriter.open(lake_root, "main")
    first = writer.transactions_since(Lsn(0))

    source.commit(insert(USERS, id=2), insert(USERS, id=3))
    batch = source.batch()
    column = batch.transactions.schema.get_field_index("origin")
    replicated = batch.transactions.set_column(column, "origin", pa.array(["elsewhere"]))
    writer.append(replace(batch, transactions=replicated))

    assert first.schema.names == TRANSACTIONS_SCHEMA.names and first.num_rows == 1
    assert told(lake_root) == [(1, None, None), (2, "elsewhere", None)]
    assert LakeWriter.open(lake_root, "main").durable_to == batch.end_lsn


def test_two_streams_of_such_a_lake_go_on_whichever_comes_first(lake_root: LakeRoot) -> None:
    one, other = Source("one"), Source("other")
    begun_by_an_older_version(lake_root, one, other)
    writers = [LakeWriter.open(lake_root, source.stream) for source in (one, other)]

    for _ in range(2):
        for source, writer in zip((one, other), writers, strict=True):
            source.commit(insert(USERS, id=2))
            writer.append(replace(source.batch(), tables=()))

    assert told(lake_root) == [(1, None, None)] * 6
