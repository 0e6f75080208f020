"""Data files: what readers find in them besides the rows."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
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


def test_every_engine_finds_every_row_by_its_key_behind_bloom_filters(tmp_path: Path) -> None:
    """DuckDB hashes binary values otherwise than Parquet's writers do: so those have no filter."""
    random = np.random.default_rng(2)
    ids, raw = random.integers(-(2**62), 2**62, 400), [random.bytes(8 + size % 20) for size in range(400)]
    texts = [f"{'é' * (number % 20)}{number}" for number in range(400)]
    rows = pa.table({"id": ids, "text": texts, "raw": pa.array(raw, pa.binary()), "other": ids})
    file = tmp_path / "rows.parquet"

    file.write_bytes(parquet.encode(rows, 100, key=("id", "text", "raw")))

    group = pq.ParquetFile(file).metadata.row_group(0)
    assert [group.column(number).bloom_filter_offset is not None for number in range(4)] == [True, True, False, False]
    for name in ("id", "text", "raw"):
        for value in rows[name].to_pylist():
            assert duckdb.execute(f"SELECT count(*) FROM '{file}' WHERE {name} = ?", [value]).fetchone() == (1,)
            assert pl.scan_parquet(file).filter(pl.col(name) == value).collect().height == 1
