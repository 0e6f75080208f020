"""Changes between the two ways of naming their columns: the source's, and the changelog's (`lakehouse.generations`)."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse import parquet
from lakehouse.columns import CHANGE_COLUMNS
from lakehouse.generation import Generation
from lakehouse.generations import Generations


def as_stored(rows: pa.Table, generation: Generation, stored: pa.Schema) -> pa.Table:
    """Changes in a generation's shape, as the changelog has them."""
    return parquet.fit(_renamed(rows, {column.name: column.stored for column in generation.columns}), stored)


def as_sourced(rows: pa.Table, generation: Generation, generations: Generations) -> pa.Table:
    """Rows of the changelog in a generation's shape; null where they lack a column of it."""
    names = {column.stored: column.name for column in generation.columns}
    # A stored column of another generation may be called like one of this generation's.
    kept = [name for name in rows.column_names if name in names or name in CHANGE_COLUMNS]
    return parquet.fit(_renamed(rows.select(kept), names), generations.columns(generation).changes)


def _renamed(rows: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """By the names' new names; of the old key, only columns that are among them."""
    renamed = rows.rename_columns([names.get(name, name) for name in rows.column_names])
    moved = {name: new for name, new in names.items() if new != name}
    fields = list(rows.schema.field("_key").type)
    if moved or any(field.name not in names for field in fields):
        renamed = _replaced(renamed, "_key", _renamed_key(rows["_key"].combine_chunks(), names))
    if moved and rows["_unchanged"].null_count < rows.num_rows:
        renamed = _replaced(renamed, "_unchanged", _renamed_values(rows["_unchanged"].combine_chunks(), moved))
    return renamed


def _renamed_key(key: pa.StructArray, names: Mapping[str, str]) -> pa.StructArray:
    kept = [field for field in key.type if field.name in names]
    parts = [pc.struct_field(key, field.name) for field in kept]
    fields = [pa.field(names[field.name], field.type) for field in kept]
    return pa.StructArray.from_arrays(parts, fields=fields, mask=pc.is_null(key))


def _renamed_values(lists: pa.ListArray, names: Mapping[str, str]) -> pa.ListArray:
    values = lists.flatten()
    position = pc.index_in(values, pa.array(list(names), pa.string()))
    renamed = pc.coalesce(pa.array(list(names.values()), pa.string()).take(position), values)
    counts = pc.fill_null(pc.list_value_length(lists), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(counts).cast(pa.int64())])
    return pa.ListArray.from_arrays(offsets.cast(pa.int32()), renamed, mask=pc.is_null(lists))


def _replaced(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), pa.field(name, values.type), values)
