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


def test_what_zstd_can_not_make_smaller_is_stored_as_it_is() -> None:
    random = np.random.default_rng(1)
    rows = pa.table({"even": np.arange(50_000), "noise": random.random(50_000), "tags": [["a"]] * 50_000})

    flat, nested = parquet.encode(rows.drop_columns(["tags"]), for_scans=True), parquet.encode(rows, for_scans=True)

    kinds = [pq.ParquetFile(io.BytesIO(body)).metadata.row_group(0) for body in (flat, nested)]
    assert [kinds[0].column(number).compression for number in (0, 1)] == ["ZSTD", "UNCOMPRESSED"]
    assert {kinds[1].column(number).compression for number in range(3)} == {"ZSTD"}
    assert pq.read_table(io.BytesIO(flat)).equals(rows.drop_columns(["tags"]))
