"""The table ``history``: what each row was, from which source commit to which."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.lsn import Lsn
from lakehouse.errors import TwoWriters
from lakehouse.history_build import build_history
from lakehouse.root import LakeRoot
from tests.lakehouse.readers import with_delta_rs, with_duckdb, with_polars
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import EVENTS, USERS, delete, insert, truncate, update

ROWS = [{"id": number, "name": f"n{number}", "bio": f"b{number}"} for number in range(3)]


def test_an_interval_begins_with_one_commit_and_ends_with_another(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    changed = live.commit(update(USERS, id=1, name="new", unchanged=["bio"]))
    gone = live.commit(delete(USERS, id=1))
    build_history(lake_root, USERS.name, live.cut().cut_lsn)

    for read in (with_polars, with_delta_rs, with_duckdb):
        rows = [row for row in read(lake_root, lake_root.uri("history", USERS.name)).to_pylist() if row["id"] == 1]
        rows.sort(key=lambda row: row["_from_lsn"])
        assert [(row["name"], row["bio"], row["_to_lsn"]) for row in rows] == [
            ("n1", "b1", changed.value),
            ("new", "b1", gone.value),
        ]
        assert rows[1]["_from_lsn"] == changed.value
        assert rows[0]["_valid_to"] == rows[1]["_valid_from"] < rows[1]["_valid_to"]


def test_built_in_many_steps_or_at_once_it_is_the_same(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    for number in range(6):
        live.commit(update(USERS, id=number % 3, name=f"new{number}", unchanged=["bio"]), insert(USERS, id=10 + number))
        build_history(local_root, USERS.name, live.cut().cut_lsn)
    in_steps = _intervals(live)

    built = build_history(local_root, USERS.name, live.cut().cut_lsn, rebuild=True, stretch_rows=1)

    assert built.rebuilt
    assert _intervals(live) == in_steps
    assert len(in_steps) == 3 + 2 * 6


def test_building_again_changes_nothing(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.commit(update(USERS, id=1, name="new", bio="b1"))
    to = live.cut().cut_lsn
    build_history(local_root, USERS.name, to)
    commits = _commits(local_root)

    again = build_history(local_root, USERS.name, to)

    assert (again.from_lsn, again.rebuilt) == (to, False)
    assert _commits(local_root) == commits


def test_a_copy_that_finds_a_row_as_it_was_does_not_interrupt_it(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    build_history(lake_root, USERS.name, live.first_cut.cut_lsn)
    copy = live.source.copy(USERS, [ROWS[0], {**ROWS[1], "name": "missed"}])
    live.writer.append_copy(copy)
    build_history(lake_root, USERS.name, live.cut().cut_lsn)

    first, at = live.source_start, copy.snapshot_lsn.value
    assert [(row["id"], row["name"], row["_from_lsn"], row["_to_lsn"]) for row in _intervals(live)] == [
        (0, "n0", first, None),
        (1, "n1", first, at),
        (1, "missed", at, None),
        (2, "n2", first, at),
    ]


def test_a_copy_that_comes_behind_what_was_built_is_taken_in(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    copy = live.source.copy(USERS, ROWS[:2])
    live.commit(update(USERS, id=1, name="later", bio="b1"))
    to = live.cut().cut_lsn
    build_history(local_root, USERS.name, to)
    live.writer.append_copy(copy)  # it took longer than the stream
    lake = live.read()
    wanted = "SELECT id, name FROM public.users ORDER BY id"

    before = lake.sql(wanted, at=to, plan="history").arrow.to_pylist()
    built = build_history(local_root, USERS.name, live.cut().cut_lsn)
    after = lake.sql(wanted, at=to, plan="history").arrow.to_pylist()

    assert built.rebuilt
    assert before == after == [{"id": 0, "name": "n0"}, {"id": 1, "name": "later"}]


def test_a_truncate_ends_every_interval(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    build_history(local_root, USERS.name, live.first_cut.cut_lsn)
    emptied = live.commit(update(USERS, id=1, name="for a moment", bio=None), truncate(USERS), insert(USERS, id=7))
    build_history(local_root, USERS.name, live.cut().cut_lsn)

    found = [(row["id"], row["name"], row["_to_lsn"]) for row in _intervals(live)]

    assert found == [*((n, f"n{n}", emptied.value) for n in range(3)), (7, None, None)]


def test_of_equal_rows_without_a_key_the_oldest_ends_first(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.writer.append_copy(live.source.copy(EVENTS, []))
    one = {"kind": "a", "weight": 0.0}
    first, second = live.commit(insert(EVENTS, **one)), live.commit(insert(EVENTS, **one))
    build_history(local_root, EVENTS.name, live.cut().cut_lsn)
    gone = live.commit(delete(EVENTS, **one))
    build_history(local_root, EVENTS.name, live.cut().cut_lsn)

    found = live.read().sql('FROM history."public.events" ORDER BY _from_lsn').arrow.to_pylist()

    assert [(row["_from_lsn"], row["_to_lsn"]) for row in found] == [(first.value, gone.value), (second.value, None)]


def test_what_was_not_known_yet_is_not_told(lake_root: LakeRoot) -> None:
    """As of a moment, an interval that ended later has no end; the tail that isn't built yet is there, too."""
    live = LiveLake(lake_root)
    changed = live.commit(update(USERS, id=1, name="new", bio="b1"))
    build_history(lake_root, USERS.name, live.cut().cut_lsn)
    again = live.commit(update(USERS, id=1, name="newer", bio="b1"))
    query = 'SELECT name, _to_lsn FROM history."public.users" WHERE id = 1 ORDER BY _from_lsn'
    lake = live.read()

    def told(at: Lsn) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in lake.sql(query, at=at).arrow.to_pylist()]

    assert told(changed.before()) == [("n1", None)]
    assert told(changed) == [("n1", changed.value), ("new", None)]
    assert told(again) == [("n1", changed.value), ("new", again.value), ("newer", None)]


def test_two_builders_of_one_table_are_told_apart(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    to = live.cut().cut_lsn
    build_history(local_root, USERS.name, to)
    live.commit(update(USERS, id=1, name="new", bio="b1"))
    later = live.cut().cut_lsn

    def somebody_else(_: Lsn) -> None:
        live.commit(update(USERS, id=1, name="newest", bio="b1"))
        build_history(local_root, USERS.name, live.cut().cut_lsn)

    with pytest.raises(TwoWriters, match="somebody else"):
        build_history(local_root, USERS.name, later, rebuild=True, on_commit=somebody_else)

    build_history(local_root, USERS.name, live.cut().cut_lsn)
    assert [row["name"] for row in _intervals(live) if row["id"] == 1] == ["n1", "new", "newest"]


def _intervals(live: LiveLake) -> list[dict[str, Any]]:
    """As the table itself holds them."""
    rows = with_polars(live.root, live.root.uri("history", USERS.name)).to_pylist()
    return sorted(rows, key=lambda row: (row["id"], row["_from_lsn"]))


def _commits(root: LakeRoot) -> list[str]:
    return root.store().names("history/public/users/_delta_log")
