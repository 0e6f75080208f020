"""The plainest reading of a table's changes: one at a time, each removal takes the oldest row of its key."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Row:
    values: Mapping[str, Any]
    since: int  # commit LSN


def replay(rows: pa.Table, key: Sequence[str], columns: Sequence[str], table: Iterable[Row] = ()) -> list[Row]:
    """``table`` after the changes ``rows`` (the changelog's shape), oldest row first."""
    held = list(table)
    compared = list(key) or list(columns)
    for change in rows.to_pylist():
        values = {name: change[name] for name in columns}
        before: Row | None = None
        if change["_op"] == "truncate":
            held.clear()
            continue
        if change["_op"] in ("update", "delete"):
            old = change["_key"] or values
            wanted = bits([old[name] for name in compared])
            # By its place: list.remove compares by value, and takes -0.0 for 0.0.
            place = next(i for i, row in enumerate(held) if bits([row.values[name] for name in compared]) == wanted)
            before = held.pop(place)
        if change["_op"] != "delete":
            for name in change["_unchanged"] or ():
                assert before is not None
                values[name] = before.values[name]
            held.append(Row(values, change["_commit_lsn"]))
    return held


def bits(value: Any) -> Any:
    """A value in a form in which equal means the same bits, but every NaN is one."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, (list, tuple)):
        return tuple(bits(one) for one in value)
    return value


def as_bag(rows: Iterable[Row]) -> list[Any]:
    """Rows without their order, for comparing two tables."""
    return sorted(
        ((*tuple((name, bits(value)) for name, value in sorted(row.values.items())), row.since) for row in rows),
        key=repr,
    )
