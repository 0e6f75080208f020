"""Every value prints as JSON without loss."""

from __future__ import annotations

import json
from datetime import time, timedelta
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.json_values import JsonValue, json_rows, json_values

UTC_US = pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([True, None]), [True, None]),
        (pa.array([2**63 - 1, -1]), [2**63 - 1, -1]),
        (pa.array([1.5, float("nan"), float("inf"), float("-inf")]), [1.5, "NaN", "infinity", "-infinity"]),
        (pa.array([Decimal("12.50")], pa.decimal128(38, 2)), ["12.50"]),
        (pa.array([Decimal("0.00000000")], pa.decimal128(38, 8)), ["0.00000000"]),
        (pa.array([Decimal(10**30)], pa.decimal128(38, 0)), [10**30]),
        (pa.array([0, 2**63 - 1, 1 - 2**63], pa.int64()).cast(UTC_US),
         ["1970-01-01T00:00:00.000000Z", "infinity", "-infinity"]),
        (pa.array([253402300800000000], pa.int64()).cast(UTC_US), ["10000-01-01T00:00:00.000000Z"]),
        (pa.array([1], pa.int64()).cast(pa.timestamp("s")), ["1970-01-01T00:00:01.000000"]),
        (pa.array([0, 2**31 - 1, 1 - 2**31, -735160], pa.int32()).cast(pa.date32()),
         ["1970-01-01", "infinity", "-infinity", "-0043-03-15"]),
        (pa.array([time(9, 30)]), ["09:30:00"]),
        (pa.array([b"\x00\xff", b""]), ["\\x00ff", "\\x"]),
        (pa.array([timedelta(seconds=-1.5)]), ["PT-1.5S"]),
        (pa.array([(14, 3, 10**9)], pa.month_day_nano_interval()), ["P14M3DT1S"]),
        (pa.array([[1.0, None], None, []], pa.list_(pa.float64())), [[1.0, None], None, []]),
        (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), [[1, 2], None]),
        (pa.array([{"a": b"x"}, None]), [{"a": "\\x78"}, None]),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), [{"k": 1}, None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    ],
)  # fmt: skip
def test_a_value_prints_as_documented(column: pa.Array, values: list[JsonValue]) -> None:
    printed = json_values(column)

    assert printed == values
    assert json.loads(json.dumps(printed, allow_nan=False)) == values


@given(st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-5, 5)))), min_size=1), st.data())
def test_a_slice_of_nested_values_prints_that_slice(values: list[list[int | None] | None], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(values) - 1))
    column = pa.array(values, pa.list_(pa.int64()))

    assert json_values(column.slice(start)) == values[start:]


def test_infinities_of_duckdb_print_as_infinities() -> None:
    table = duckdb.sql("SELECT 'infinity'::timestamptz, '-infinity'::date, sum(1), 1.5::decimal(4, 2)").to_arrow_table()

    assert json_rows(table) == [["infinity", "-infinity", 1, "1.50"]]
