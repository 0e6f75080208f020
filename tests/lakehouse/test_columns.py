from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cdc.lsn import Lsn
from cdc.relation import Relation
from lakehouse.errors import LakeError, NameCollision
from lakehouse.generation import Hold, Vouched
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.readers import READERS
from tests.lakehouse.source import Source, delete, insert, relation, update

BEFORE = relation("public.t", {"id": pa.int64(), "a": pa.string()}, key=["id"])
WIDER = relation("public.t", {"id": pa.int64(), "a": pa.string(), "b": pa.list_(pa.int64())}, key=["id"])
NARROWER = relation("public.t", {"id": pa.int64()}, key=["id"])
SWAPPED = relation("public.t", {"a": pa.string(), "id": pa.int64()}, key=["id"])
RETYPED = relation("public.t", {"id": pa.int64(), "a": pa.int64()}, key=["id"])
OTHER_KEY = relation("public.t", {"id": pa.int64(), "a": pa.string()}, key=["a"])
NO_KEY = relation("public.t", {"id": pa.int64(), "a": pa.string()})
NAME = BEFORE.name


class Lakeful:
    """A source, a writer, and what a reader gets."""

    def __init__(self, root: LakeRoot) -> None:
        self.root, self.source, self.writer = root, Source(), LakeWriter.open(root, "main")

    def deliver(self, *vouched: Relation, cut: bool = True) -> Lsn:
        batch = self.source.batch()
        self.writer.append(batch, vouched=Vouched(frozenset(vouched)))
        if cut:
            assert self.writer.advance(batch.end_lsn.before(), batch.source_time) is not None
        return batch.end_lsn.before()

    def copy(self, of: Relation, *rows: dict[str, Any]) -> Lsn:
        copy = self.source.copy(of, rows)
        self.writer.append_copy(copy)
        return copy.snapshot_lsn

    def rows(self, at: Lsn | None = None) -> list[dict[str, Any]]:
        """Source columns only, by id."""
        answer = Lake.open(self.root).sql("SELECT * EXCLUDE (_valid_from, _valid_from_lsn) FROM public.t", at=at)
        return sorted(answer.arrow.to_pylist(), key=lambda row: row["id"])

    def verdict(self, at: Lsn) -> list[tuple[str, Lsn, Lsn | None]]:
        gaps = Lake.open(self.root).sql("SELECT 1 FROM public.t", at=at).as_of.gaps
        return [(gap.reason, gap.from_lsn, gap.to_lsn) for gap in gaps]


@pytest.fixture
def lake(local_root: LakeRoot) -> Lakeful:
    found = Lakeful(local_root)
    found.copy(BEFORE, {"id": 1, "a": "x"}, {"id": 2, "a": "y"})
    found.deliver()
    return found


def test_a_column_that_came_empty_is_null_in_older_rows_for_every_reader(lake: Lakeful) -> None:
    lake.source.commit(insert(BEFORE, id=3, a="z"))
    before = Lsn(lake.source.position)
    lake.source.commit(insert(WIDER, id=4, a="w", b=[1]), update(WIDER, id=1, a="x2", b=[]))

    lake.deliver(WIDER)

    for read in READERS:
        rows = read(lake.root, lake.root.uri("current", NAME), None).to_pylist()
        assert {row["id"]: row["b"] for row in rows} == {1: [], 2: None, 3: None, 4: [1]}, read.__name__
    assert lake.rows(before) == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}, {"id": 3, "a": "z"}]


def test_a_column_that_went_is_gone_from_then_on_and_there_before_for_every_reader(lake: Lakeful) -> None:
    lake.source.commit(insert(BEFORE, id=3, a="z"))
    before = Lsn(lake.source.position)
    old_version = lake.writer.advance(lake.deliver(cut=False), lake.source.now)
    lake.source.commit(insert(NARROWER, id=4), delete(NARROWER, id=1))

    after = lake.deliver(NARROWER)

    assert old_version is not None
    for read in READERS:
        uri = lake.root.uri("current", NAME)
        assert "a" not in read(lake.root, uri, None).column_names, read.__name__
        then = read(lake.root, uri, old_version.versions[NAME]).to_pylist()
        assert {row["id"]: row["a"] for row in then} == {1: "x", 2: "y", 3: "z"}, read.__name__
    assert lake.rows(after) == [{"id": 2}, {"id": 3}, {"id": 4}]
    assert lake.rows(before) == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}, {"id": 3, "a": "z"}]


@pytest.mark.parametrize(
    ("after", "values", "said"),
    [
        (WIDER, {"a": "w", "b": [1]}, "b is new"),
        (RETYPED, {"a": 7}, "a has another type"),
        (NARROWER, {}, "a is gone"),
        (SWAPPED, {"a": "w"}, "changed places"),
    ],
    ids=["added", "other type", "gone", "swapped"],
)
def test_what_the_stream_cannot_tell_holds_the_table_until_a_copy_says_it(
    lake: Lakeful, after: Relation, values: dict[str, Any], said: str
) -> None:
    lake.source.commit(insert(BEFORE, id=3, a="z"))
    certain = Lsn(lake.source.position)
    changed = lake.source.commit(insert(after, id=4, **values))
    held_at = lake.deliver()

    assert lake.rows(held_at) == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}, {"id": 3, "a": "z"}]
    ((reason, from_lsn, to_lsn),) = lake.verdict(held_at)
    assert said in reason
    assert (from_lsn, to_lsn) == (certain, None)

    copied = [{"id": number, **values} for number in (1, 2, 3, 4)]
    snapshot = lake.copy(after, *copied)
    lake.source.commit(update(after, id=1, **values), delete(after, id=2))
    newest = lake.deliver()

    assert lake.rows(snapshot) == copied
    assert lake.rows(newest) == [copied[0], copied[2], copied[3]]
    assert lake.verdict(newest) == lake.verdict(snapshot) == []
    assert lake.verdict(changed) == [(reason, certain, snapshot)]
    assert lake.rows(certain) == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}, {"id": 3, "a": "z"}]
    for read in READERS:
        assert len(read(lake.root, lake.root.uri("current", NAME), None).to_pylist()) == 3, read.__name__
        assert read(lake.root, lake.root.uri("changelog", NAME), None).num_rows == 3 + 5 + 4, read.__name__


def test_a_name_that_came_back_with_another_type_keeps_both_pasts_in_the_changelog(lake: Lakeful) -> None:
    lake.source.commit(insert(RETYPED, id=3, a=5))
    lake.deliver()
    lake.copy(RETYPED, {"id": 3, "a": 5})
    lake.source.commit(update(RETYPED, id=3, a=6))
    lake.deliver()

    rows = Lake.open(lake.root).sql('SELECT id, a, "a@2" FROM changelog."public.t" WHERE _op <> \'truncate\'').arrow

    found = [(row["id"], row["a"], row["a@2"]) for row in rows.to_pylist()]
    assert sorted(found, key=repr) == [(1, "x", None), (2, "y", None), (3, None, 5), (3, None, 5), (3, None, 6)]
    life = Lake.open(lake.root).trace(NAME, "3")
    assert [change.values for change in life] == [{"id": 3, "a": 5}, {"id": 3, "a": 5}, {"id": 3, "a": 6}]


@pytest.mark.parametrize("after", [OTHER_KEY, NO_KEY], ids=["other key", "no key"])
def test_rows_are_found_by_the_key_that_the_table_has_then(lake: Lakeful, after: Relation) -> None:
    lake.source.commit(update(BEFORE, old={"id": 1}, id=10, a="x"), insert(BEFORE, id=3, a="z"))
    if after is NO_KEY:
        lake.source.commit(update(after, old={"id": 2, "a": "y"}, id=2, a="why"), delete(after, id=3, a="z"))
    else:
        lake.source.commit(update(after, old={"a": "y"}, id=2, a="why"), delete(after, a="z"))

    lake.deliver()

    assert lake.rows() == [{"id": 2, "a": "why"}, {"id": 10, "a": "x"}]


def test_between_two_cuts_a_reader_folds_through_a_change_of_columns(lake: Lakeful) -> None:
    states = []
    lake.source.commit(insert(BEFORE, id=3, a="z"))
    states.append((Lsn(lake.source.position), [(1, "x", "-"), (2, "y", "-"), (3, "z", "-")]))
    lake.source.commit(update(WIDER, id=1, a="x2", b=[1]))
    states.append((Lsn(lake.source.position), [(1, "x2", [1]), (2, "y", None), (3, "z", None)]))
    lake.source.commit(delete(WIDER, id=2))
    states.append((Lsn(lake.source.position), [(1, "x2", [1]), (3, "z", None)]))
    lake.source.commit(insert(NARROWER, id=9))
    states.append((Lsn(lake.source.position), [(1, "-", "-"), (3, "-", "-"), (9, "-", "-")]))
    lake.deliver(WIDER, NARROWER, cut=False)

    for lsn, expected in states:
        assert [(row["id"], row.get("a", "-"), row.get("b", "-")) for row in lake.rows(lsn)] == expected


def test_a_column_that_came_back_is_not_filled_with_what_it_was(lake: Lakeful) -> None:
    lake.source.commit(insert(NARROWER, id=3))
    lake.deliver(NARROWER)
    lake.source.commit(insert(BEFORE, id=4, a="w"))
    held_at = lake.deliver(BEFORE)

    assert lake.rows(held_at) == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert [reason for reason, _, _ in lake.verdict(held_at)] == ["column a came back"]


def test_a_change_of_columns_inside_a_transaction_holds_it_whole(lake: Lakeful) -> None:
    before = Lsn(lake.source.position)
    lake.source.commit(insert(BEFORE, id=3, a="z"), insert(NARROWER, id=4))
    held_at = lake.deliver()

    assert lake.rows(held_at) == lake.rows(before) == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]
    assert [reason for reason, _, _ in lake.verdict(held_at)] == ["columns changed inside a transaction"]


def test_a_held_table_does_not_hold_the_others_and_stays_held_after_a_restart(lake: Lakeful) -> None:
    other = relation("public.other", {"id": pa.int64()}, key=["id"])
    lake.copy(other)
    lake.writer.hold(NAME, Lsn(lake.source.position + 1), Hold("a test says so", Lsn(lake.source.position)))
    lake.source.commit(insert(other, id=1), insert(BEFORE, id=3, a="z"))
    lake.deliver()
    lake.writer = LakeWriter.open(lake.root, "main")
    lake.source.commit(insert(other, id=2), insert(BEFORE, id=4, a="z"))
    lake.deliver()

    assert Lake.open(lake.root).sql("SELECT count(*) AS n FROM public.other").arrow["n"][0].as_py() == 2
    assert lake.rows() == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]
    assert Lake.open(lake.root).sql("SELECT 1 FROM public.other").as_of.complete
    assert not Lake.open(lake.root).sql("SELECT 1 FROM public.t").as_of.complete


@pytest.mark.parametrize(
    ("after", "error", "said"),
    [
        (
            relation("public.t", {"id": pa.int64(), "a": pa.string(), "A": pa.string()}, ["id"]),
            NameCollision,
            "a and A differ only by case",
        ),
        (
            relation("public.t", {"id": pa.int64(), "a": pa.string(), "_op": pa.string()}, ["id"]),
            NameCollision,
            "column _op has a name that the lake uses itself",
        ),
    ],
    ids=["differs by case", "our own name"],
)
def test_a_name_that_the_lake_cannot_hold_is_refused_and_nothing_is_written(
    lake: Lakeful, after: Relation, error: type[LakeError], said: str
) -> None:
    durable_to = lake.writer.durable_to
    lake.source.commit(insert(after, id=3))

    with pytest.raises(error, match=said) as raised:
        lake.writer.append(lake.source.batch())

    assert raised.value.subject == "public.t"
    assert raised.value.fix
    assert lake.writer.durable_to == durable_to
