from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.key_hash import hash_rows

DIFFERENT: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [None, False, True]),
    (pa.int64(), [None, 0, 1, -1, 1 << 62]),
    (pa.float64(), [None, 0.0, -0.0, float("nan"), float("inf")]),
    (pa.decimal128(38, 2), [None, Decimal("0.00"), Decimal("1.00"), Decimal("18446744073709551616.00")]),
    (pa.string(), [None, "", "a", "a\0", "ab", "aaaaaaaa", "aaaaaaaaa"]),
    (pa.binary(), [None, b"", b"\0", b"\0\0"]),
    (pa.date32(), [None, date(1970, 1, 1), date(1970, 1, 2)]),
    (pa.list_(pa.string()), [None, [], [None], [""], ["a", "b"], ["ab"], ["a", "b", None]]),
    (pa.list_(pa.list_(pa.int64())), [None, [], [[]], [[], []], [[1], [2]], [[1, 2]]]),
]


@pytest.mark.parametrize(
    ("kind", "values"), DIFFERENT, ids=lambda one: str(one) if isinstance(one, pa.DataType) else ""
)
def test_different_values_have_different_hashes_and_equal_ones_equal(kind: pa.DataType, values: list[Any]) -> None:
    column = pa.array(values + values, kind)

    hashed = [tuple(one) for one in hash_rows([column], len(column))]

    assert len(set(hashed)) == len(values)
    assert hashed[: len(values)] == hashed[len(values) :]


@pytest.mark.parametrize(
    ("kind", "values"), DIFFERENT, ids=lambda one: str(one) if isinstance(one, pa.DataType) else ""
)
def test_a_slice_of_a_column_has_the_hashes_of_its_rows(kind: pa.DataType, values: list[Any]) -> None:
    column = pa.array(values, kind)

    sliced = hash_rows([column.slice(1, len(values) - 2)], len(values) - 2)

    assert np.array_equal(sliced, hash_rows([column], len(values))[1:-1])


def test_every_nan_is_the_same_key() -> None:
    bits = pa.array([0x7FF8000000000000, -0x0008000000000000, 0x7FF8000000000001], pa.int64())

    hashed = hash_rows([bits.view(pa.float64())], 3)

    assert len({tuple(one) for one in hashed}) == 1


def test_the_border_between_two_columns_counts() -> None:
    one = hash_rows([pa.array(["ab"]), pa.array(["c"])], 1)
    other = hash_rows([pa.array(["a"]), pa.array(["bc"])], 1)

    assert not np.array_equal(one, other)
