"""One row's life, from the lake and from made-up changelogs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.relation import TableName
from lakehouse.errors import UnknownKey, UnknownTable
from lakehouse.life import Change, Key, Row, changes_of
from lakehouse.root import LakeRoot
from lakehouse.trace import read_key
from tests.lakehouse.histories import BAG, keyed_transactions
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import USERS, Source, delete, insert, relation, truncate, update


def told(changes: list[Change]) -> list[tuple[int, str, dict[str, Any] | None, tuple[str, ...]]]:
    return [(one.life, one.op, None if one.values is None else dict(one.values), one.changed) for one in changes]


def test_a_life_tells_values_before_and_after_who_why_and_the_file(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.cut()
    lsn = live.commit(update(USERS, id=1, name="new", unchanged=["bio"]), actor="ann")

    changes = live.read().trace(USERS.name, "1")

    assert told(changes) == [
        (1, "copy", {"id": 1, "name": "n1", "bio": "b1"}, ()),
        (1, "update", {"id": 1, "name": "new", "bio": "b1"}, ("name",)),
    ]
    last = changes[-1]
    assert (last.lsn, last.ordinal, last.who.actor, last.xid, last.committed_at) == (
        lsn, 0, "ann", 701, "2026-01-31T09:00:01.000000Z",
    )  # fmt: skip
    assert last.before == changes[0].values
    assert changes[0].who.actor is None
    file = live.root.store().get(f"changelog/public/users/{last.file}")
    assert file is not None
    assert json.loads(json.dumps(last.to_json()))["lsn"] == str(lsn)


def test_a_row_whose_key_changed_keeps_its_life(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.commit(update(USERS, old={"id": 1}, id=50, name="moved", unchanged=["bio"]))
    live.commit(insert(USERS, id=1, name="another"))
    live.commit(update(USERS, old={"id": 50}, id=51, name="moved", unchanged=["bio"]))
    lake = live.read()

    assert told(lake.trace(USERS.name, "51")) == [
        (1, "copy", {"id": 1, "name": "n1", "bio": "b1"}, ()),
        (1, "update", {"id": 50, "name": "moved", "bio": "b1"}, ("id", "name")),
        (1, "update", {"id": 51, "name": "moved", "bio": "b1"}, ("id",)),
    ]
    assert told(lake.trace(USERS.name, "1")) == [
        (1, "copy", {"id": 1, "name": "n1", "bio": "b1"}, ()),
        (1, "update", {"id": 50, "name": "moved", "bio": "b1"}, ("id", "name")),
        (2, "insert", {"id": 1, "name": "another", "bio": None}, ()),
    ]


def test_deletes_and_inserts_under_one_key_are_separate_lives(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.commit(delete(USERS, id=2))
    live.commit(insert(USERS, id=2, name="again"))
    live.commit(truncate(USERS))
    live.commit(insert(USERS, id=2, name="thrice"))

    changes = live.read().trace(USERS.name, "2")

    assert [(one.life, one.op, (one.values or {}).get("name")) for one in changes] == [
        (1, "copy", "n2"), (1, "delete", None), (2, "insert", "again"), (2, "truncate", None), (3, "insert", "thrice"),
    ]  # fmt: skip
    assert changes[1].before == {"id": 2, "name": "n2", "bio": "b2"}


def test_a_repeated_copy_shows_what_it_found_and_what_it_found_gone(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    again = live.source.copy(USERS, [{"id": 0, "name": "changed unseen", "bio": "b0"}])
    live.writer.append_copy(again)
    live.append()
    lake = live.read()

    stayed, gone = lake.trace(USERS.name, "0"), lake.trace(USERS.name, "1")

    assert [(one.life, one.op, one.changed) for one in stayed] == [(1, "copy", ()), (1, "copy", ("name",))]
    assert [(one.op, one.values is None) for one in gone] == [("copy", False), ("copy", True)]
    assert gone[-1].lsn == again.snapshot_lsn


def test_a_key_that_no_row_had_has_no_life(lake_root: LakeRoot) -> None:
    assert LiveLake(lake_root).read().trace(USERS.name, "404") == []


def test_a_key_may_be_spelt_as_its_type_allows(lake_root: LakeRoot) -> None:
    key = {"day": pa.date32(), "at": pa.timestamp("us", tz="UTC"), "raw": pa.binary(), "n": pa.decimal128(9, 2)}
    pair = relation("public.pair", {**key, "v": pa.string()}, key=list(key))
    live = LiveLake(lake_root)
    live.commit(insert(pair, day=10957, at=0, raw=b"\x01\xff", n=1, v="x"))
    live.writer.append_copy(live.source.copy(pair, []))
    live.append()
    lake = live.read()

    spelt = [
        lake.trace(pair.name, key)
        for key in (
            '["2000-01-01", "1970-01-01T00:00:00Z", "\\\\x01ff", "1.00"]',
            '{"n": 1, "raw": "\\\\x01ff", "at": "1970-01-01 09:00:00+09", "day": "2000-01-01"}',
            ("2000-01-01", "1970-01-01", "\\x01ff", "1"),
        )
    ]

    assert [[change.op for change in changes] for changes in spelt] == [["insert", "copy"]] * 3


@pytest.mark.parametrize("key", ["x", "", "1.5.2", "[1, 2]"])
def test_text_that_is_no_key_is_refused(local_root: LakeRoot, key: str) -> None:
    with pytest.raises(UnknownKey) as refused:
        LiveLake(local_root).read().trace(USERS.name, key)

    assert refused.value.fix


@pytest.mark.parametrize("key", ["1", "[1]", "[1, null]", '{"a": 1}', "{", ("1", "2", "3")])
def test_a_key_of_two_columns_wants_two_values(key: str | tuple[str, ...]) -> None:
    with pytest.raises(UnknownKey, match=r"\(a, b\)"):
        read_key(key, ["a", "b"], "s.t")

    assert read_key('[1, "x"]', ["a", "b"], "s.t") == read_key('{"b": "x", "a": 1}', ["a", "b"], "s.t") == ("1", "x")


def test_a_table_without_a_key_points_to_its_changelog(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.writer.append_copy(live.source.copy(BAG, []))

    with pytest.raises(UnknownKey) as refused:
        live.read().trace(BAG.name, "1")
    with pytest.raises(UnknownTable):
        live.read().trace(TableName("public", "nothing"), "1")

    assert 'changelog."public.bag"' in refused.value.fix


def test_a_key_is_looked_up_in_the_changelog_without_the_files_that_cannot_hold_it(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    folder = Path(local_root.uri("changelog", USERS.name))
    kept = set(folder.rglob("*.parquet"))
    live.commit(*(insert(USERS, id=number, name="x") for number in range(100, 200)))
    (other,) = set(folder.rglob("*.parquet")) - kept
    lake = live.read()
    query = 'SELECT _op FROM changelog."public.users" WHERE id = 1'
    other.write_bytes(b"unreadable")

    assert lake.sql(query, at="now").arrow["_op"].to_pylist() == ["copy"]


@settings(deadline=None)
@given(data=st.data())
def test_every_row_that_is_there_has_a_life_that_ends_in_its_values(data: st.DataObject) -> None:
    """The law of lives: as the naive reading leaves a row, so its life ends; and a key without a row has ended."""
    source, ids = Source(), dict[int, None]()
    for _ in range(data.draw(st.integers(1, 6))):
        source.commit(*data.draw(keyed_transactions(ids)))
    parts = [one.rows for one in source.batch().tables]
    rows = pa.concat_tables(parts).sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")]).to_pylist()
    changes: list[Row] = [{**row, "_committed_at": "", "_file": ""} for row in rows]

    def rows_of(key: Key) -> list[Row]:
        def tells(row: Mapping[str, Any]) -> bool:
            return row["_op"] == "truncate" or key[0] in (row["id"], (row["_key"] or {"id": None})["id"])

        return [row for row in changes if tells(row)]

    held = _held(rows)
    for number in range(8):
        told = changes_of((number,), ("id",), ("id", "name", "bio"), rows_of)
        lives = [[one for one in told if one.life == life] for life in sorted({one.life for one in told})]
        present = [life[-1].values for life in lives if (life[-1].values or {}).get("id") == number]
        assert present == ([held[number]] if number in held else [])
        assert all(later.before == one.values for life in lives for one, later in pairwise(life))
        assert all(any((one.values or one.before or {}).get("id") == number for one in life) for life in lives)


def _held(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Rows by id at the end; within a transaction that swaps, the older row of an id leaves first."""
    queue: list[dict[str, Any]] = []
    for row in rows:
        if row["_op"] == "truncate":
            queue.clear()
            continue
        before: dict[str, Any] = {}
        if row["_op"] in ("update", "delete"):
            old = (row["_key"] or row)["id"]
            before = next(one for one in queue if one["id"] == old)
            queue.remove(before)
        if row["_op"] != "delete":
            values = {name: row[name] for name in ("id", "name", "bio")}
            queue.append(values | {name: before[name] for name in row["_unchanged"] or ()})
    return {row["id"]: row for row in queue}
