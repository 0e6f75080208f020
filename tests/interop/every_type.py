"""One table with every lake type, at its ends and at its absences, and what a reader must make of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa

from cdc.batch import TIMESTAMP
from tests.lakehouse.replay import bits
from tests.lakehouse.source import relation

LONG_MAX, INT_MAX = (1 << 63) - 1, (1 << 31) - 1
INFINITY_DAYS = (INT_MAX, -INT_MAX)  # PostgreSQL's ±infinity, as docs/types.md has them
INFINITY_MICROS = (LONG_MAX, -LONG_MAX)
YEAR_1 = -62_135_596_800_000_000
YEAR_10000 = 253_402_300_800_000_000
TEXTS = ["", "a", "Ünï 履歴 🗾", "new\nline\ttab\\", "0", "x" * 5_000, None, "∅"]

_COLUMNS: dict[str, pa.Array] = {
    "flag": pa.array([True, False, None, True, False, None, True, False]),
    "number": pa.array([0, -1, LONG_MAX, -LONG_MAX - 1, None, 1, 2, 3], pa.int64()),
    "real": pa.array([0.0, -0.0, float("inf"), float("-inf"), float("nan"), None, 5e-324, 1.7976931348623157e308]),
    "money": pa.array(
        [Decimal(text) for text in ("0.00", "-0.01", "9999999999.99", "-9999999999.99")] + [None] * 4
    ).cast(pa.decimal128(12, 2)),
    "wide": pa.array([Decimal("9" * 38), Decimal("-" + "9" * 38), Decimal(1), None, None, None, Decimal(0), None]).cast(
        pa.decimal128(38, 0)
    ),
    "word": pa.array(TEXTS),
    "body": pa.array([b"", b"\x00\xff", b"\x00" * 100, None, b"a", None, b"\\x", b"'"]),
    "bags": pa.array([[], [None], ["a", None, ""], None, [""], ["履歴"], None, ["a"] * 50], pa.list_(pa.string())),
    "counts": pa.array([[1, None], [], None, [LONG_MAX], [0], None, [None], [2, 1]], pa.list_(pa.int64())),
}
_DAYS = [0, -1, 2_932_896, -719_162, *INFINITY_DAYS, None, -1_000_000]  # 1970, 1969, 9999-12-31, 0001-01-01, …, 769 BC
_MICROS = [0, -1, YEAR_10000 - 1, YEAR_1, *INFINITY_MICROS, None, YEAR_10000]


def every_type() -> pa.Table:
    """Eight rows, ``id`` 0 to 7."""
    columns: dict[str, Any] = {"id": pa.array(range(8), pa.int64()), **_COLUMNS}
    columns["day"] = pa.array(_DAYS, pa.int32()).view(pa.date32())
    columns["moment"] = pa.array(_MICROS, pa.int64()).view(TIMESTAMP)
    return pa.table(columns)


EVERY_TYPE = relation("public.every_type", {field.name: field.type for field in every_type().schema}, key=["id"])


def values(table: pa.Table) -> list[dict[str, Any]]:
    """Rows by value, by ``id``: floats by their bits, dates and times as days and microseconds from 1970."""
    columns: dict[str, pa.ChunkedArray] = {}
    for field in table.schema:
        column = table[field.name]
        if pa.types.is_date(field.type):
            column = column.cast(pa.int32())
        elif pa.types.is_timestamp(field.type):
            column = column.cast(pa.timestamp("us", field.type.tz)).cast(pa.int64())
        columns[field.name] = column
    rows = [{name: bits(value) for name, value in row.items()} for row in pa.table(columns).to_pylist()]
    return sorted(rows, key=lambda row: int(row["id"]))
