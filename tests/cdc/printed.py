"""What PostgreSQL prints of a column, and the lake's values printed by the same rules, in plain Python.

The second half knows Arrow's types and nothing of how they came about.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from psycopg import sql

from cdc.printers import numbers
from cdc.relation import text_column
from cdc.source import PRINT_AS_WE_READ
from tests.cdc.conftest import Source


def printed(source: Source, table: str, columns: Sequence[str]) -> dict[str, list[str | None]]:
    """By each type's output function, in the order of ``id``."""
    texts = [
        sql.SQL("CASE num_nulls({0}) WHEN 0 THEN format('%s', {0}) END").format(sql.Identifier(name))
        for name in columns
    ]
    query = sql.SQL("SELECT {} FROM public.{} ORDER BY id").format(sql.SQL(", ").join(texts), sql.Identifier(table))
    with source.database.connect() as connection:
        connection.execute(PRINT_AS_WE_READ)
        rows = connection.execute(query).fetchall()
    return {name: [row[number] for row in rows] for number, name in enumerate(columns)}


def same_bits(one: pa.Array, other: pa.Array) -> bool:
    """Equal, with NaN equal to itself and -0.0 apart from 0.0."""
    if one.type != other.type or one.is_valid() != other.is_valid():
        return False
    if pt.is_floating(one.type):
        one, other = one.view(pa.int64()), other.view(pa.int64())
    if pt.is_list(one.type):
        return bool(one.offsets.equals(other.offsets)) and same_bits(one.values, other.values)
    return bool(one.equals(other))


def told(rows: pa.Table, column: str, pg_type: str) -> list[str | None]:
    """A column's values as PostgreSQL would print them, from the lake's type or from the text beside it."""
    texts = lake_text(rows[column].combine_chunks(), pg_type)
    if text_column(column) not in rows.column_names:
        return texts
    beside = rows[text_column(column)].to_pylist()
    assert not any(text is not None and told is not None for text, told in zip(texts, beside, strict=True))
    return [text if told is None else told for text, told in zip(texts, beside, strict=True)]


def lake_text(values: pa.Array, pg_type: str) -> list[str | None]:
    """The lake's values of a column of ``pg_type``, printed as PostgreSQL would print them."""
    return [_text(value, values.type, pg_type) for value in _raw(values)]


def _raw(values: pa.Array) -> list[Any]:
    """Python values; dates and times as counts, because Python's own end at the year 9999."""
    kind = values.type
    if pt.is_date(kind):
        return values.cast(pa.int32()).to_pylist()
    if pt.is_timestamp(kind):
        return values.cast(pa.int64()).to_pylist()
    if pt.is_list(kind):
        members, ends = _raw(values.values), values.offsets.to_pylist()
        return [
            members[ends[i] : ends[i + 1]] if valid else None for i, valid in enumerate(values.is_valid().to_pylist())
        ]
    return values.to_pylist()


def _text(value: Any, kind: pa.DataType, pg_type: str) -> str | None:
    if value is None:
        return None
    if pt.is_list(kind):
        delimiter = ";" if pg_type == "box[]" else ","
        return "{" + delimiter.join(_quoted(_text(one, kind.value_type, pg_type), delimiter) for one in value) + "}"
    if pt.is_boolean(kind):
        return "t" if value else "f"
    if pt.is_floating(kind):
        # Held against the server where a range or a point prints its numbers.
        single = pg_type.startswith("float4")
        return numbers.float4(struct.pack(">f", value)) if single else numbers.float8(struct.pack(">d", value))
    if pt.is_decimal(kind):
        return f"{value:f}"
    if pt.is_binary(kind):
        return "\\x" + value.hex()
    if pt.is_date(kind):
        return _instant(value, "D", 2**31 - 1)
    if pt.is_timestamp(kind):
        return _instant(value, "us", 2**63 - 1, "+00" if pg_type.startswith("timestamptz") else "")
    return str(value)


def _instant(count: int, unit: str, infinity: int, zone: str = "") -> str:
    if abs(count) == infinity:
        return "infinity" if count > 0 else "-infinity"
    text = str(np.datetime_as_string(np.datetime64(count, unit)))
    year, rest = re.fullmatch(r"(-?\d+)(-.*)", text).groups()  # type: ignore[union-attr]
    before_christ = int(year) <= 0
    day, _, clock = rest.partition("T")
    clock = f" {clock}".rstrip("0").removesuffix(".") if "." in clock else f" {clock}"
    return f"{1 - int(year) if before_christ else int(year):04}{day}{clock.rstrip()}{zone}{' BC' * before_christ}"


def _quoted(text: str | None, delimiter: str) -> str:
    if text is None:
        return "NULL"
    if text and text.upper() != "NULL" and not re.search(rf'[\s"\\{{}}{delimiter}]', text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
