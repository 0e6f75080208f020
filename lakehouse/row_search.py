"""Single rows of local data files, found by value without scanning: milliseconds among tens of millions of rows.

Bounds, null counts and Bloom filters leave a few row groups; of these only the columns asked for are read, and then the
rows found. Data files never change, so what their footers say is kept, reduced to what a search needs.

Equality is that of the stored bits, which is PostgreSQL's for the types in ``can_search``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse import bloom
from lakehouse.errors import CorruptCommit
from lakehouse.opening import OpenLake, reading
from lakehouse.root import LakeRoot

_FEW_ROWS = 3  # skipping to a row costs 3 ms; beyond these few, reading the row group and picking costs less
_SEARCHED = (
    pa.types.is_int64,
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_boolean,
    pa.types.is_decimal128,
    pa.types.is_date32,
    pa.types.is_timestamp,
)
Column = tuple[str, ...]  # a column's name, or a struct's and its member's
Physical = int | bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column with one of these values; without any: with null, or not there."""

    column: Column
    values: pa.Array
    physical: tuple[Physical, ...]  # the same as Parquet bounds them; empty where it doesn't, in a way we can use
    hashes: tuple[int, ...]  # by which a Bloom filter knows them; empty where it doesn't

    @classmethod
    def of(cls, column: Column, values: pa.Array) -> Wanted:
        physical = _physical(values)
        kind = values.type
        hashes: tuple[int, ...] = ()
        if pa.types.is_int64(kind) or pa.types.is_string(kind):
            hashes = tuple(bloom.hash_of(_plain(value)) for value in physical)
        return cls(column, values, physical, hashes)


def can_search(kind: pa.DataType) -> bool:
    """Whether equal values of this type are equal bits."""
    return any(is_kind(kind) for is_kind in _SEARCHED)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A column of one row group. What isn't known is None."""

    nulls: int | None
    bounds: tuple[Physical, Physical] | None
    bloom: bloom.BloomFilter | None


@dataclass(frozen=True, slots=True)
class _Group:
    number: int
    first_row: int
    rows: int
    chunks: Mapping[Column, _Chunk]  # without the columns that the file lacks


@dataclass(slots=True)
class RowSearch:
    """Searches by these columns of a table, with their types. Safe for several threads."""

    columns: Mapping[Column, pa.DataType]
    _files: dict[str, tuple[_Group, ...]] = field(default_factory=dict)
    _remembered: dict[tuple[str, Column, tuple[Physical, ...]], pa.Table | None] = field(default_factory=dict)

    def find(
        self, files: Iterable[str], wanted: Sequence[Wanted], *, remember: bool = False
    ) -> Iterator[tuple[str, pa.Table]]:
        """For each file that has rows with all that is wanted: these rows, in order, with the file's columns.

        ``remember``: the same is asked again and again, and few rows have it.
        Raises, within ``searching``: HistoryIncomplete, CorruptCommit, LakeUnreachable.
        """
        for path in files:
            rows = self._remember(path, *wanted) if remember else self._find(path, wanted)
            if rows is not None:
                yield path, rows

    def forget_all_but(self, files: Iterable[str]) -> None:
        """Let go of what is known of files that have left the table."""
        kept = set(files)
        for path in set(self._files.copy()) - kept:
            self._files.pop(path, None)
        for key in self._remembered.copy():
            if key[0] not in kept:
                self._remembered.pop(key, None)

    def _remember(self, path: str, wanted: Wanted) -> pa.Table | None:
        key = (path, wanted.column, wanted.physical)
        if key not in self._remembered:
            self._remembered[key] = self._find(path, [wanted])
        return self._remembered.get(key)

    def _find(self, path: str, wanted: Sequence[Wanted]) -> pa.Table | None:
        groups = self._candidates(path, wanted)
        places = self._places(path, groups, wanted) if groups else []
        return _read(path, places) if places else None

    def _candidates(self, path: str, wanted: Sequence[Wanted]) -> list[_Group]:
        groups = self._files.get(path)
        if groups is None:
            groups = self._files[path] = _groups(path, self.columns)
        within = [group for group in groups if all(_bounds_allow(group, one) for one in wanted)]
        if not within or not any(_filters(group, wanted) for group in within):
            return within
        with _opened(path) as file:
            return [
                group
                for group in within
                if all(any(bloom.may_hold(file, one, h) for h in hashes) for one, hashes in _filters(group, wanted))
            ]

    @staticmethod
    def _places(path: str, groups: Sequence[_Group], wanted: Sequence[Wanted]) -> list[tuple[_Group, _Rows]]:
        """In each group, the rows wanted, counted from its first."""
        source = pq.ParquetFile(path)
        found = []
        for group in groups:
            present = [one for one in wanted if one.column in group.chunks]
            names = [".".join(one.column) for one in present]
            read = source.read_row_group(group.number, columns=names, use_threads=False)
            matches = np.ones(group.rows, dtype=np.bool_)
            for one in present:
                matches &= _matches(_column(read, one.column), one.values)
            if matches.any():
                found.append((group, np.flatnonzero(matches)))
        return found


def kept_search(root: LakeRoot, uri: str, columns: Mapping[Column, pa.DataType], files: Iterable[str]) -> RowSearch:
    """The search of these columns of a table with these files, with what earlier questions to an open lake have found
    out of them.
    """
    if not isinstance(root, OpenLake):
        return RowSearch(columns)
    key = ("row search", uri, tuple((column, str(kind)) for column, kind in columns.items()))
    search = root.once(key, lambda: RowSearch(columns))
    search.forget_all_but(files)
    return search


_Rows = npt.NDArray[np.int64]


def _groups(path: str, columns: Mapping[Column, pa.DataType]) -> tuple[_Group, ...]:
    told = pq.read_metadata(path)
    schema = told.schema.to_arrow_schema()
    at = {told.schema.column(index).path: index for index in range(told.num_columns)}
    present = {
        column: (index, _type_of(schema, column) == kind)
        for column, kind in columns.items()
        if (index := at.get(".".join(column))) is not None
    }
    groups, first_row = [], 0
    with _opened(path) as file:
        for number in range(told.num_row_groups):
            group = told.row_group(number)
            chunks = {
                column: _chunk(file, group.column(index), same_type) for column, (index, same_type) in present.items()
            }
            groups.append(_Group(number, first_row, group.num_rows, chunks))
            first_row += group.num_rows
    return tuple(groups)


def _chunk(file: int, told: pq.ColumnChunkMetaData, same_type: bool) -> _Chunk:
    stats = told.statistics
    if stats is None or not same_type:
        return _Chunk(None, None, None)
    bounds = (stats.min_raw, stats.max_raw) if stats.has_min_max else None
    offset = told.bloom_filter_offset
    return _Chunk(
        stats.null_count if stats.has_null_count else None,
        bounds,
        None if offset is None else bloom.filter_at(file, offset),
    )


def _bounds_allow(group: _Group, wanted: Wanted) -> bool:
    chunk = group.chunks.get(wanted.column)
    if not len(wanted.values):
        return chunk is None or chunk.nulls != 0
    if chunk is None or chunk.nulls == group.rows:
        return False
    if chunk.bounds is None or not wanted.physical:
        return True
    least, greatest = chunk.bounds
    return any(least <= value <= greatest for value in wanted.physical)  # type: ignore[operator]  # both of one type


def _filters(group: _Group, wanted: Sequence[Wanted]) -> list[tuple[bloom.BloomFilter, tuple[int, ...]]]:
    return [
        (chunk.bloom, one.hashes)
        for one in wanted
        if one.hashes and (chunk := group.chunks.get(one.column)) is not None and chunk.bloom is not None
    ]


def _matches(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.bool_]:
    match len(values):
        case 0:
            found = pc.is_null(column)
        case 1:
            found = pc.fill_null(pc.equal(column, values[0]), False)
        case _:
            found = pc.is_in(column, value_set=values)
    return np.asarray(found)


def _read(path: str, places: Sequence[tuple[_Group, _Rows]]) -> pa.Table:
    if sum(len(rows) for _, rows in places) <= _FEW_ROWS:
        lazy = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        at = [group.first_row + int(row) for group, rows in places for row in rows]
        return pl.concat([lazy.slice(row, 1) for row in at]).collect().to_arrow()
    source = pq.ParquetFile(path)
    return pa.concat_tables([source.read_row_group(group.number).take(pa.array(rows)) for group, rows in places])


def _column(rows: pa.Table, column: Column) -> pa.ChunkedArray:
    name, *member = column
    return pc.struct_field(rows[name], member) if member else rows[name]


def _type_of(schema: pa.Schema, column: Column) -> pa.DataType:
    kind = schema.field(column[0]).type
    for member in column[1:]:
        kind = kind.field(member).type
    return kind


def _physical(values: pa.Array) -> tuple[Physical, ...]:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return tuple(values.cast(pa.binary()).to_pylist())
    if pa.types.is_date32(kind):
        return tuple(values.cast(pa.int32()).to_pylist())
    if pa.types.is_int64(kind) or pa.types.is_timestamp(kind):
        return tuple(values.cast(pa.int64()).to_pylist())
    return ()


def _plain(value: Physical) -> bytes:
    return value if isinstance(value, bytes) else value.to_bytes(8, "little", signed=True)


@contextmanager
def searching(subject: str) -> Iterator[None]:
    """Say in our words where a file is gone or damaged."""
    try:
        with reading(subject):
            yield
    except pa.ArrowInvalid as error:
        raise CorruptCommit(f"a file of it can't be read: {error}", subject=subject) from error


@contextmanager
def _opened(path: str) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)
