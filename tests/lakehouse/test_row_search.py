"""Rows found by value in data files, against reading them whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse import bloom, parquet
from lakehouse.errors import CorruptCommit, HistoryIncomplete
from lakehouse.row_search import Column, RowSearch, Wanted, searching

NUMBERS = st.sampled_from([None, -(2**63), -1, 0, 1, 2, 3, 2**63 - 1])
TEXTS = st.sampled_from([None, "", "a", "b", "é", "x" * 200])
KINDS: dict[Column, pa.DataType] = {
    ("n",): pa.int64(),
    ("t",): pa.string(),
    ("_key", "n"): pa.int64(),
    ("absent",): pa.int64(),
}
SCHEMA = pa.schema(
    [("n", pa.int64()), ("t", pa.string()), ("_key", pa.struct([("n", pa.int64())])), ("row", pa.int64())]
)


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    one = st.fixed_dictionaries({"n": NUMBERS, "t": TEXTS, "_key": st.none() | st.fixed_dictionaries({"n": NUMBERS})})
    return [row | {"row": number} for number, row in enumerate(draw(st.lists(one, min_size=1, max_size=40)))]


@settings(deadline=None)
@given(rows=rows(), group_rows=st.integers(1, 40), number=NUMBERS, text=TEXTS)
def test_a_search_finds_what_reading_everything_finds(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], group_rows: int, number: Any, text: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "searched.parquet"
    path.write_bytes(parquet.encode(pa.Table.from_pylist(rows, schema=SCHEMA), group_rows, key=("n", "t")))
    search = RowSearch(KINDS)

    def found(**values: Any) -> list[dict[str, Any]]:
        columns: dict[str, Column] = {"n": ("n",), "t": ("t",), "old": ("_key", "n"), "absent": ("absent",)}
        wanted = [
            Wanted.of(
                columns[name], pa.array(value if isinstance(value, list) else [value], KINDS[columns[name]]).drop_null()
            )
            for name, value in values.items()
        ]
        return [row for _, part in search.find([str(path)], wanted) for row in part.to_pylist()]

    assert found(n=number) == [row for row in rows if row["n"] == number]
    assert found(n=number, t=text) == [row for row in rows if (row["n"], row["t"]) == (number, text)]
    assert found(old=number) == [row for row in rows if (row["_key"] or {"n": None})["n"] == number]
    assert found(n=[1, 2, -1]) == [row for row in rows if row["n"] in (1, 2, -1)]
    assert found(t=text, absent=None) == [row for row in rows if row["t"] == text]
    assert found(absent=1) == []


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_a_bloom_filter_admits_what_was_written_and_little_else(tmp_path: Path, kind: pa.DataType) -> None:
    written = pa.array(range(0, 10_000, 2), pa.int64())
    path = tmp_path / "filtered.parquet"
    path.write_bytes(parquet.encode(pa.table({"v": written.cast(kind)}), key=("v",)))
    offset = pq.read_metadata(path).row_group(0).column(0).bloom_filter_offset

    with path.open("rb") as file:
        known = bloom.filter_at(file.fileno(), offset)
        assert known is not None
        admitted = [
            number
            for number in range(10_000)
            for value in Wanted.of(("v",), pa.array([number], pa.int64()).cast(kind)).hashes
            if bloom.may_hold(file.fileno(), known, value)
        ]

        assert bloom.filter_at(file.fileno(), offset + 1) is None

    assert {number for number in admitted if number % 2 == 0} == set(range(0, 10_000, 2))
    assert len(admitted) < 5_000 * 1.03


def test_what_is_remembered_of_a_file_goes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "told.parquet"
    wanted = [Wanted.of(("n",), pa.array([1], pa.int64()))]
    search = RowSearch({("n",): pa.int64()})

    def found(*numbers: int) -> list[list[int]]:
        path.write_bytes(parquet.encode(pa.table({"n": pa.array(numbers, pa.int64())}), key=("n",)))
        return [rows["n"].to_pylist() for _, rows in search.find([str(path)], wanted, remember=True)]

    assert found(1, 1, 2) == [[1, 1]]
    assert found(2) == [[1, 1]]
    search.forget_all_but([])
    assert found(2) == []


def test_a_file_that_is_gone_or_damaged_is_said(tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    wanted = [Wanted.of(("n",), pa.array([1], pa.int64()))]

    with pytest.raises(HistoryIncomplete), searching("t"):
        list(RowSearch({("n",): pa.int64()}).find([str(path)], wanted))
    path.write_bytes(b"unreadable, and longer than a footer")
    with pytest.raises(CorruptCommit), searching("t"):
        list(RowSearch({("n",): pa.int64()}).find([str(path)], wanted))
