"""The table that is measured: ten columns, ids in the order in which they were given out, about 60 bytes a row."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.bulk import BulkSource
from tests.lakehouse.source import relation

COLUMNS = {
    "id": pa.int64(),
    "account": pa.int64(),
    "kind": pa.string(),
    "name": pa.string(),
    "email": pa.string(),
    "amount": pa.float64(),
    "score": pa.float64(),
    "count": pa.int64(),
    "active": pa.bool_(),
    "at": pa.timestamp("us", "UTC"),
}
WIDE = relation("public.wide", COLUMNS, key=["id"])
Ids = np.ndarray[tuple[int], np.dtype[np.int64]]


def rows_of(ids: Ids, seed: int) -> pa.Table:
    """A row for each id; another seed gives other values."""
    random = np.random.default_rng(seed)
    count = len(ids)
    frame = pl.DataFrame(
        {
            "id": ids,
            "account": random.integers(0, 100_000, count),
            "kind": pl.Series(random.integers(0, 20, count)).cast(pl.String),
            "amount": np.round(random.normal(100, 40, count), 2),
            "score": random.random(count),
            "count": random.integers(0, 50, count),
            "active": random.random(count) < 0.9,
            "at": pl.Series(1_750_000_000_000_000 + random.integers(0, 10**13, count)).cast(pl.Datetime("us", "UTC")),
        }
    ).with_columns(
        name=pl.format("user {}", pl.col("id")),
        email=pl.format("{}@example.org", pl.col("account")),
    )
    return frame.select(list(COLUMNS)).to_arrow().cast(pa.schema(list(COLUMNS.items())))


def random_ids(count: int, among: int, seed: int) -> Ids:
    """Distinct, in random order."""
    return np.random.default_rng(seed).choice(among, count, replace=False).astype(np.int64)


def all_rows(count: int) -> pa.Table:
    return rows_of(np.arange(count, dtype=np.int64), 1)


def copied(root: LakeRoot, count: int) -> BulkSource:
    """A lake with one table of ``count`` rows, copied and cut; the source as it stands then."""
    source, writer = BulkSource(), LakeWriter.open(root, "main")
    writer.append_copy(source.copy(WIDE, all_rows(count)))
    source.cut(writer)
    writer.close()
    return source
