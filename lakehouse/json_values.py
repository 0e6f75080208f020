"""Arrow values as JSON values that lose nothing: what ``rireki sql --json`` and ``trace --json`` print.

    bool, string, integer         as JSON has them; an integer keeps all its digits (JSON sets no limit)
    double                        number; "NaN", "infinity", "-infinity" as text
    decimal                       number where its type has no fraction digits, else text: 12.50 stays "12.50"
    timestamp                     "2026-01-31T09:30:00.000000Z", always six digits, so that text sorts as time
    timestamp without zone        the same without Z
    date, time                    "2026-01-31", "09:30:00"
    ±infinity of time and date    "infinity", "-infinity"
    binary                        "\\x0aff", as PostgreSQL prints it
    interval, duration            ISO 8601: "P1M2DT3.5S"
    list, struct, map             array, object, object
    null                          null

A column keeps one JSON type for all its values, doubles excepted, so that a reader can type it.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

# How the lake and DuckDB write PostgreSQL's infinities: the ends of the type, the lowest value left unused.
_INFINITY = {64: 2**63 - 1, 32: 2**31 - 1}


def json_rows(table: pa.Table) -> list[list[JsonValue]]:
    """A table as rows of JSON values, column order kept."""
    columns = [json_values(column) for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)] if columns else []


def json_values(column: pa.Array | pa.ChunkedArray) -> list[JsonValue]:
    """One column's values, in order, by the table in this module's docstring."""
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in json_values(chunk)]
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return json_values(column.storage)
    if pt.is_dictionary(kind):
        return json_values(column.dictionary_decode())
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind) or pt.is_map(kind):
        return _lists(column)
    if pt.is_struct(kind):
        return _structs(column)
    if pt.is_timestamp(kind):
        return _instants(column.cast(pa.int64()), kind.unit, "Z" if kind.tz else "", _INFINITY[64])
    if pt.is_date(kind):
        return _instants(column.cast(pa.date32()).cast(pa.int32()), "D", "", _INFINITY[32])
    return [None if value is None else _scalar(value, kind) for value in column.to_pylist()]


def _scalar(value: Any, kind: pa.DataType) -> JsonValue:
    if pt.is_floating(kind):
        number = float(value)
        if math.isnan(number):
            return "NaN"
        return number if math.isfinite(number) else ("infinity" if number > 0 else "-infinity")
    if pt.is_decimal(kind):
        return int(value) if kind.scale <= 0 else f"{value:f}"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if pt.is_interval(kind):
        return _iso_interval(value.months, value.days, value.nanoseconds)
    if pt.is_duration(kind):
        return _iso_interval(0, 0, int(np.timedelta64(value).astype("timedelta64[ns]").astype(np.int64)))
    if isinstance(value, (bool, int, str)):
        return value
    return str(value)  # time of day


def _instants(counts: pa.Array, unit: str, suffix: str, infinity: int) -> list[JsonValue]:
    """Counts since 1970 as ISO text. Through numpy, because Python's datetime stops at the year 9999."""
    instants = counts.fill_null(0).cast(pa.int64()).to_numpy().astype(f"datetime64[{unit}]")
    texts = np.datetime_as_string(instants.astype("datetime64[us]") if unit in ("s", "ms") else instants).tolist()

    def text(count: int | None, iso: str) -> JsonValue:
        if count is None:
            return None
        if abs(count) >= infinity:
            return "infinity" if count > 0 else "-infinity"
        if iso.startswith("-"):  # a year before Christ: numpy leaves out a zero
            year, rest = iso[1:].split("-", 1)
            iso = f"-{year:0>4}-{rest}"
        return iso + suffix

    return [text(count, iso) for count, iso in zip(counts.to_pylist(), texts, strict=True)]


def _lists(column: pa.Array) -> list[JsonValue]:
    """Lists of any width, and maps (as objects): the values inside are converted once, flat, then cut to length."""
    lists = column.cast(pa.list_(column.type.value_type)) if pt.is_fixed_size_list(column.type) else column
    ends = lists.offsets.to_pylist()
    if pt.is_map(lists.type):
        pairs = list(zip(lists.keys.to_pylist(), json_values(lists.items), strict=True))
        return [
            {str(key): value for key, value in pairs[ends[i] : ends[i + 1]]} if valid else None
            for i, valid in enumerate(lists.is_valid().to_pylist())
        ]
    values = json_values(lists.values)
    return [values[ends[i] : ends[i + 1]] if valid else None for i, valid in enumerate(lists.is_valid().to_pylist())]


def _structs(column: pa.Array) -> list[JsonValue]:
    names = [field.name for field in column.type]
    fields = [json_values(child) for child in column.flatten()]
    rows = zip(*fields, strict=True) if fields else ([()] * len(column))
    return [
        dict(zip(names, row, strict=True)) if valid else None
        for row, valid in zip(rows, column.is_valid().to_pylist(), strict=True)
    ]


def _iso_interval(months: int, days: int, nanoseconds: int) -> str:
    whole, rest = divmod(abs(nanoseconds), 10**9)
    seconds = f"{'-' if nanoseconds < 0 else ''}{whole}.{rest:09}".rstrip("0").rstrip(".") if nanoseconds else ""
    text = (f"{months}M" if months else "") + (f"{days}D" if days else "") + (f"T{seconds}S" if seconds else "")
    return "P" + (text or "T0S")
