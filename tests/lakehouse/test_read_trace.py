"""One row's life, from the lake and from made-up changelogs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.compaction import FAN_IN
from lakehouse.errors import UnknownKey, UnknownTable
from lakehouse.key_changes import KeyChanges
from lakehouse.life import Change, Key, Row, changes_of
from lakehouse.opening import open_table
from lakehouse.root import LakeRoot
from lakehouse.sql import Engine
from lakehouse.trace import read_key
from tests.lakehouse.histories import BAG, KEYED, keyed_transactions
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


def both_ways(
    root: LakeRoot, name: TableName, keys: Sequence[Sequence[str | None]]
) -> list[tuple[list[Row], list[Row]]]:
    """Each key's changes as the search of files finds them, and as DuckDB does, in order."""
    table = open_table(root, root.uri("changelog", name), str(name))
    assert table is not None
    with Engine(root).cursor() as cursor:
        searched = KeyChanges.of(root, cursor, name, table, Lsn(2**63 - 1))
        assert searched.search is not None
        asked = replace(searched, search=None)
        typed = [searched.typed(key) for key in keys]
        return [(in_order(searched.rows_of(key)), in_order(asked.rows_of(key))) for key in typed]


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Each once: a change whose key stays may name it twice."""
    once = {(row["_commit_lsn"], row["_ordinal"], row["_op"]): row for row in rows}
    return [once[place] for place in sorted(once, key=str)]


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_searching_files_finds_the_changes_that_duckdb_finds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    live, ids = LiveLake(LakeRoot(str(tmp_path_factory.mktemp("lake")))), dict[int, None]()
    live.commit(insert(KEYED, id=100))
    for _ in range(data.draw(st.integers(1, 4))):
        for _ in range(data.draw(st.integers(1, 3))):
            live.source.commit(*data.draw(keyed_transactions(ids)))
        live.append()
        if data.draw(st.integers(0, 4)) == 0:
            live.writer.append_copy(live.source.copy(KEYED, [{"id": number} for number in ids]))

    for searched, asked in both_ways(live.root, KEYED.name, [[str(number)] for number in range(9)]):
        assert searched == asked


def test_a_key_of_any_type_is_found_in_files_as_duckdb_finds_it(local_root: LakeRoot) -> None:
    kinds = {
        "day": pa.date32(), "at": pa.timestamp("us", tz="UTC"), "local": pa.timestamp("us"), "raw": pa.binary(),
        "n": pa.decimal128(9, 2), "yes": pa.bool_(), "text": pa.string(), "long": pa.int64(),
    }  # fmt: skip
    table = relation("public.kinds", {**kinds, "more": pa.list_(pa.string()), "share": pa.float64()}, key=list(kinds))
    one = {"day": 10957, "at": 0, "local": 0, "raw": b"\x01\xff", "n": 1, "yes": True, "text": "é", "long": -1}
    ends = one | {"day": 2**31 - 1, "at": 2**63 - 1, "local": -(2**63 - 1), "text": ""}
    live = LiveLake(local_root)
    live.commit(insert(table, **one, more=["a", None], share=float("nan")), insert(table, **ends))
    live.commit(update(table, old=ends, **(ends | {"long": 2**40}), share=-0.0, unchanged=["more"]))
    live.commit(*(update(table, **one, share=float(number)) for number in range(5)), actor="ann")
    live.commit(delete(table, **one), truncate(table))
    spelt = ["2000-01-01", "1970-01-01", "1970-01-01", "\\x01ff", "1.00", "true", "é", "-1"]
    far = ["infinity", "infinity", "-infinity", "\\x01ff", "1.00", "true", "", "-1"]

    told = both_ways(live.root, table.name, [spelt, far, [*far[:-1], str(2**40)], [*spelt[:-1], "7"]])

    assert all(searched == asked for searched, asked in told)
    assert [[row["_op"] for row in searched] for searched, _ in told] == [
        ["insert", *["update"] * 5, "delete", "truncate"],
        ["insert", "update", "truncate"],
        ["update", "truncate"],
        ["truncate"],
    ]


def test_a_key_of_doubles_is_left_to_duckdb_for_which_zeros_are_equal(local_root: LakeRoot) -> None:
    table = relation("public.t", {"a": pa.float64()}, key=["a"])
    live = LiveLake(local_root)
    live.commit(insert(table, a=0.0))
    live.writer.append_copy(live.source.copy(table, []))
    live.append()

    assert [one.op for one in live.read().trace(table.name, "-0.0")] == ["insert", "copy"]


def test_a_reader_that_stays_sees_what_is_new_and_what_was_merged(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    lake = live.read()
    lake.trace(USERS.name, "1")
    for number in range(FAN_IN):
        live.commit(update(USERS, id=1, name=f"v{number}", bio=None), actor=f"a{number}")
    live.commit(truncate(USERS))
    grown = lake.trace(USERS.name, "1")
    live.writer.compact()
    merged = lake.trace(USERS.name, "1")

    assert [one.op for one in grown] == ["copy", *["update"] * FAN_IN, "truncate"]
    assert [one.who.actor for one in grown] == [None, *(f"a{number}" for number in range(FAN_IN)), None]
    assert [replace(one, file="") for one in merged] == [replace(one, file="") for one in grown]
    assert len({one.file for one in merged}) < len({one.file for one in grown})
