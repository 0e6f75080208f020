"""A table whose columns and key change: whatever a question starts from, each moment has the columns of then."""

from __future__ import annotations

from typing import Any, get_args

import pyarrow as pa
import pytest

from cdc.lsn import Lsn
from lakehouse.errors import HistoryIncomplete
from lakehouse.history_build import build_history
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.starting_point import Plan
from tests.lakehouse.source import delete, insert, relation, update
from tests.lakehouse.test_columns import BEFORE, NAME, NARROWER, OTHER_KEY, RETYPED, WIDER, Lakeful

Row = dict[str, Any]


@pytest.fixture(params=["built in steps", "built at once", "never built"])
def told(request: pytest.FixtureRequest, local_root: LakeRoot) -> tuple[Lakeful, list[tuple[Lsn, list[Row]]]]:
    """A lake, and its table's rows as they were at moments."""
    lake = Lakeful(local_root)
    lake.copy(BEFORE, {"id": 1, "a": "x"}, {"id": 2, "a": "y"})
    moments: list[tuple[Lsn, list[Row]]] = []

    def moment(*rows: Row) -> None:
        moments.append((Lsn(lake.source.position), list(rows)))

    def cut(*vouched: Any) -> None:
        lsn = lake.deliver(*vouched)
        if request.param == "built in steps":
            build_history(lake.root, NAME, lsn)

    cut()
    moment({"id": 1, "a": "x"}, {"id": 2, "a": "y"})
    lake.source.commit(update(WIDER, id=1, b=[1], unchanged=["a"]))
    moment({"id": 1, "a": "x", "b": [1]}, {"id": 2, "a": "y", "b": None})
    cut(WIDER)
    lake.source.commit(insert(NARROWER, id=3), delete(NARROWER, id=1))
    moment({"id": 2}, {"id": 3})
    lake.source.commit(insert(NARROWER, id=4))
    moment({"id": 2}, {"id": 3}, {"id": 4})
    cut(NARROWER)
    lake.source.commit(update(RETYPED, id=3, a=30))  # it came back as another type: held until a copy
    moment({"id": 2}, {"id": 3}, {"id": 4})
    cut()
    lake.copy(RETYPED, {"id": 2, "a": 20}, {"id": 3, "a": 30}, {"id": 4, "a": 40})
    moment({"id": 2, "a": 20}, {"id": 3, "a": 30}, {"id": 4, "a": 40})
    lake.source.commit(update(RETYPED, id=3, a=31), delete(RETYPED, id=4))
    moment({"id": 2, "a": 20}, {"id": 3, "a": 31})
    cut()
    lake.source.commit(update(RETYPED, id=2, unchanged=["a"]))
    moment({"id": 2, "a": 20}, {"id": 3, "a": 31})
    if request.param == "built at once":
        cut()
        build_history(lake.root, NAME, lake.deliver(), stretch_rows=1)
    lake.deliver(cut=False)
    return lake, moments


@pytest.mark.parametrize("plan", [None, *get_args(Plan)])
def test_every_plan_gives_the_columns_and_rows_of_then(
    told: tuple[Lakeful, list[tuple[Lsn, list[Row]]]], plan: Plan | None, request: pytest.FixtureRequest
) -> None:
    lake, moments = told
    reader = Lake.open(lake.root)
    if plan == "history" and "never built" in request.node.name:
        with pytest.raises(HistoryIncomplete):
            reader.sql("FROM public.t", at=moments[0][0], plan=plan)
        return

    for lsn, rows in moments:
        answer = reader.sql("SELECT * EXCLUDE (_valid_from, _valid_from_lsn) FROM public.t", at=lsn, plan=plan).arrow
        frame = reader.rows(NAME, reader.at(lsn), plan).drop("_valid_from", "_valid_from_lsn").collect()
        assert _by_id(answer.to_pylist()) == _by_id(frame.to_dicts()) == rows, f"at {lsn}"


def test_an_interval_keeps_what_it_was_through_later_changes_of_columns(
    told: tuple[Lakeful, list[tuple[Lsn, list[Row]]]],
) -> None:
    lake, moments = told
    reader = Lake.open(lake.root)
    history = 'SELECT * EXCLUDE (_valid_from, _valid_to, _from_lsn, _to_lsn), _to_lsn FROM history."public.t"'

    first = reader.sql(history, at=moments[0][0])
    newest = reader.sql(history, at=moments[-1][0])

    assert first.columns == ["id", "a", "_to_lsn"]
    assert newest.columns == ["id", "a", "b", "a@2", "_to_lsn"]
    ended = sorted((row for row in newest.arrow.to_pylist() if row["_to_lsn"]), key=repr)
    still = sorted((row for row in newest.arrow.to_pylist() if not row["_to_lsn"]), key=repr)
    assert [(row["id"], row["a"], row["b"], row["a@2"]) for row in ended] == [
        (1, "x", None, None),
        (1, "x", [1], None),
        (2, "y", None, None),
        (2, None, None, 20),
        (3, None, None, 30),
        (3, None, None, None),
        (4, None, None, 40),
        (4, None, None, None),
    ]
    assert [(row["id"], row["a@2"]) for row in still] == [(2, 20), (3, 31)]


def test_the_history_of_a_table_finds_rows_by_the_key_that_the_table_has_then(local_root: LakeRoot) -> None:
    lake = Lakeful(local_root)
    lake.copy(BEFORE, {"id": 1, "a": "x"}, {"id": 2, "a": "y"})
    lake.source.commit(update(BEFORE, id=1, a="z"))
    build_history(lake.root, NAME, lake.deliver())
    lake.source.commit(update(OTHER_KEY, old={"a": "z"}, id=1, a="w"), delete(OTHER_KEY, a="y"))
    tail = lake.deliver(cut=False)
    query = 'SELECT id, a, _to_lsn IS NULL AS still FROM history."public.t" ORDER BY id, _from_lsn'

    before = Lake.open(lake.root).sql(query, at=tail).arrow.to_pylist()
    build_history(lake.root, NAME, lake.deliver())
    after = Lake.open(lake.root).sql(query).arrow.to_pylist()

    assert before == after
    assert [tuple(row.values()) for row in after] == [
        (1, "x", False),
        (1, "z", False),
        (1, "w", True),
        (2, "y", False),
    ]


def test_a_left_out_value_is_found_under_the_name_that_it_is_stored_by(local_root: LakeRoot) -> None:
    """A name that differs only by case is stored as another column, and so is what the change says of it."""
    upper = relation("public.t", {"id": pa.int64(), "A": pa.string()}, key=["id"])
    lake = Lakeful(local_root)
    lake.copy(BEFORE, {"id": 1, "a": "x"})
    lake.deliver()
    lake.copy(upper, {"id": 1, "A": "X"})
    lake.source.commit(update(upper, id=1, unchanged=["A"]))
    lake.deliver()
    build_history(lake.root, NAME, lake.deliver())

    changes = Lake.open(lake.root).sql('SELECT "A@2", _unchanged FROM changelog."public.t" WHERE _op = \'update\'')
    history = Lake.open(lake.root).sql('SELECT "A@2" FROM history."public.t" WHERE _to_lsn IS NULL')

    assert changes.arrow.to_pylist() == [{"A@2": None, "_unchanged": ["A@2"]}]
    assert history.arrow.to_pylist() == [{"A@2": "X"}]
    assert lake.rows() == [{"id": 1, "A": "X"}]


def _by_id(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row["id"])
