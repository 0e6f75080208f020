"""Data files: Arrow rows to Parquet and back, with the statistics by which readers skip files.

Bounds are given only where every reader compares as we do: long, date, timestamp, short strings, and doubles without
NaN or infinity. Dates and times outside the years 1 … 9999 (PostgreSQL's ``infinity`` among them) have no text that
readers agree on, so their column goes without bounds.
"""

from __future__ import annotations

import io
import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.log import now_ms
from lakehouse.store import Store
from lakehouse.table_state import LiveFile

FILE_ROWS = 1_000_000  # a copy's files: large enough to scan fast, small enough to hold in memory while written
# A look-up by key reads one group of each file that may hold it: so the many small files of cuts have small ones.
_LARGE_ROWS = 1 << 17
_LARGE_GROUP, _SMALL_GROUP = 1 << 16, 1 << 13
_ROW_GROUP = 1 << 17  # what a reader skips or takes as a whole
_SAMPLE_ROWS = 1 << 14
_REPEATING = ("_op", "_commit_lsn", "_xid", "_committed_at", "_valid_from_lsn", "_valid_from")
STATS_COLUMNS = 32  # Delta's usual number; the lake's own columns are counted besides
STATS_TEXT = 64  # a longer string's column goes without bounds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY, _LAST_DAY = (day.toordinal() - date(1970, 1, 1).toordinal() for day in (date.min, date.max))
_DAY_US = 86_400_000_000


def write(
    store: Store,
    table: str,
    rows: pa.Table,
    partition: Mapping[str, str | None] | None = None,
    *,
    own: tuple[str, ...] = (),
    key: Sequence[str] = (),
    group_rows: int | None = None,
    for_scans: bool = False,
) -> Iterator[LiveFile]:
    """Write ``rows`` as files of the table at ``table``, durable when yielded.

    ``own`` names columns that get bounds however many columns come before them, ``key`` those by which single rows are
    looked for. ``partition`` gives the columns that the files leave out. ``group_rows``: how many rows readers skip or
    read together; few suit look-ups in sorted files. ``for_scans``: what is read far more often than written. Nothing
    is written for no rows.
    """
    folder = "".join(f"{name}={value}/" for name, value in (partition or {}).items())
    for start in range(0, rows.num_rows, FILE_ROWS):
        piece = rows.slice(start, FILE_ROWS)
        body = encode(piece, group_rows, key=key, for_scans=for_scans)
        path = f"{folder}part-{uuid.uuid4()}.parquet"
        store.put(f"{table}/{path}", body)
        yield LiveFile(path, len(body), dict(partition or {}), now_ms(), statistics(piece, own))


def group_rows(rows: int) -> int:
    """How many rows of a sorted file readers should skip or read together, when it has so many."""
    return _SMALL_GROUP if rows < _LARGE_ROWS else _LARGE_GROUP


def encode(rows: pa.Table, group_rows: int | None = None, *, key: Sequence[str] = (), for_scans: bool = False) -> bytes:
    """Parquet, zstd level 1. Columns of ``key`` get Bloom filters: one value among millions in no order is then found
    without reading them. Only columns of our own that repeat get a dictionary: trying one on every column, as is
    usual, doubles the time and, behind zstd, saves nothing. ``for_scans`` gives one to all columns that repeat: engines
    group and compare by it without looking at the values; and what zstd can't make smaller is stored as it is.
    """
    target = pa.BufferOutputStream()
    repeating = {name for name in rows.column_names if name in _REPEATING}
    random: set[str] = set()
    if for_scans and rows.num_rows:
        step = -(-rows.num_rows // _SAMPLE_ROWS)
        sample = rows.take(pa.array(range(0, rows.num_rows, step)))
        repeating |= {name for name in rows.column_names if _repeats(sample[name])}
        random = {name for name in rows.column_names if name not in repeating and _is_random(sample[name])}
    squeezed = [name for name in rows.column_names if name not in random]
    # Columns within columns have names of their own, which pyarrow would take for uncompressed.
    by_column = bool(random) and not any(pa.types.is_nested(field.type) for field in rows.schema)
    pq.write_table(
        rows,
        target,
        compression=dict.fromkeys(squeezed, "zstd") if by_column else "zstd",
        compression_level=dict.fromkeys(squeezed, 1) if by_column else 1,
        use_dictionary=sorted(repeating),
        row_group_size=group_rows or _ROW_GROUP,
        data_page_size=4 << 20,
        write_batch_size=1 << 16,
        bloom_filter_options=_bloom_filters(rows, key, group_rows or _ROW_GROUP) or None,
    )
    return bytes(target.getvalue())


def _bloom_filters(rows: pa.Table, key: Sequence[str], group_rows: int) -> dict[str, dict[str, float]]:
    """1.3 bytes a row, for columns whose values every engine hashes alike: of binary ones, DuckDB misses rows."""
    kinds = {name: rows.schema.field(name).type for name in key if name in rows.column_names}
    return {
        name: {"ndv": min(rows.num_rows, group_rows), "fpp": 0.01}
        for name, kind in kinds.items()
        if pa.types.is_int64(kind) or pa.types.is_string(kind)
    }


def _repeats(sample: pa.ChunkedArray) -> bool:
    """Whether so many values come again among a few thousand that most do among the many of a row group."""
    if pa.types.is_nested(sample.type) or pa.types.is_boolean(sample.type):
        return False
    return bool(pc.count_distinct(sample, mode="all").as_py() <= 0.6 * len(sample))


def _is_random(sample: pa.ChunkedArray) -> bool:
    """Whether zstd takes less than a tenth off: reading then costs more than it saves."""
    if not (pa.types.is_floating(sample.type) or pa.types.is_integer(sample.type)) or sample.null_count:
        return False
    body = np.asarray(sample.to_numpy()).tobytes()
    return len(pa.Codec("zstd", 1).compress(body)) > 0.9 * len(body)


def read(store: Store, table: str, path: str, schema: pa.Schema) -> pa.Table:
    """A data file's rows with the columns of ``schema``; null for columns that the file is too old to have."""
    body = store.get(f"{table}/{path}")
    if body is None:
        raise FileNotFoundError(f"{table}/{path}")
    source = pq.ParquetFile(io.BytesIO(body))
    present = [name for name in schema.names if name in source.schema_arrow.names]
    return fit(source.read(columns=present), schema)


def read_groups(store: Store, table: str, path: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows, a row group at a time: only the file's bytes are held whole."""
    body = store.get(f"{table}/{path}")
    if body is None:
        raise FileNotFoundError(f"{table}/{path}")
    source = pq.ParquetFile(pa.BufferReader(body))
    present = [name for name in schema.names if name in source.schema_arrow.names]
    for group in range(source.num_row_groups):
        yield fit(source.read_row_group(group, columns=present), schema)


def fit(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """``rows`` with exactly the columns of ``schema``, by name; null for those it lacks."""
    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def statistics(rows: pa.Table, own: tuple[str, ...] = ()) -> str:
    """The protocol's per-file statistics, as JSON."""
    bounded = [name for name in rows.column_names if name not in own][:STATS_COLUMNS] + list(own)
    null_counts: dict[str, int] = {}
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    for name in bounded:
        column = rows[name]
        if pa.types.is_nested(column.type):
            continue
        null_counts[name] = column.null_count
        if bounds := _bounds(column):
            least[name], greatest[name] = bounds
    found = {"numRecords": rows.num_rows, "minValues": least, "maxValues": greatest, "nullCount": null_counts}
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def _bounds(column: pa.ChunkedArray) -> tuple[Any, Any] | None:
    if column.null_count == len(column):
        return None
    kind = column.type
    if pa.types.is_int64(kind):
        return _extremes(column)
    if pa.types.is_float64(kind):
        if pc.any(pc.is_nan(column)).as_py():
            return None
        least, greatest = _extremes(column)
        if math.isinf(least) or math.isinf(greatest):
            return None
        # Some readers hold -0.0 to be less than 0.0.
        return (-0.0 if least == 0 else least), (0.0 if greatest == 0 else greatest)
    if pa.types.is_date32(kind):
        least, greatest = _extremes(column.cast(pa.int32()))
        if least < _FIRST_DAY or greatest > _LAST_DAY:
            return None
        return tuple((_EPOCH + timedelta(days=day)).date().isoformat() for day in (least, greatest))  # type: ignore[return-value]
    if pa.types.is_timestamp(kind):
        least, greatest = _extremes(column.cast(pa.int64()))
        if least < _FIRST_DAY * _DAY_US or greatest >= (_LAST_DAY + 1) * _DAY_US:
            return None
        return _time_text(least, kind), _time_text(greatest, kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        least, greatest = _extremes(column)
        return (least, greatest) if max(len(least), len(greatest)) <= STATS_TEXT else None
    return None


def _extremes(column: pa.ChunkedArray) -> tuple[Any, Any]:
    found = pc.min_max(column)
    return found["min"].as_py(), found["max"].as_py()


def _time_text(micros: int, kind: pa.DataType) -> str:
    text = (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z" if kind.tz is not None else text
