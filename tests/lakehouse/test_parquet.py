"""Data files: what readers find in them besides the rows."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse import parquet


def _encodings(body: bytes, column: int) -> tuple[str, ...]:
    return tuple(pq.ParquetFile(io.BytesIO(body)).metadata.row_group(0).column(column).encodings)


def test_what_is_read_often_has_dictionaries_for_the_columns_that_repeat_and_for_no_other() -> None:
    count = 100_000
    rows = pa.table({"kind": pa.array(np.arange(count) % 20).cast(pa.string()), "id": np.arange(count)})

    scanned, passed_through = parquet.encode(rows, for_scans=True), parquet.encode(rows)

    assert "RLE_DICTIONARY" in _encodings(scanned, 0)
    assert "RLE_DICTIONARY" not in _encodings(scanned, 1)
    assert "RLE_DICTIONARY" not in _encodings(passed_through, 0)
    assert pq.read_table(io.BytesIO(scanned)).equals(rows)
