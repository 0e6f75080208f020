"""What differs between two moments, by key: checked against the states themselves."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cdc.lsn import Lsn
from lakehouse.difference import Difference
from lakehouse.root import LakeRoot
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import EVENTS, USERS, Change, delete, insert, update


def found(difference: Difference) -> tuple[set[int], set[int], dict[int, list[str]]]:
    """Keys added, keys removed, and which columns changed of which key."""
    added, removed, changed = (frame.collect() for frame in (difference.added, difference.removed, difference.changed))
    return set(added["id"]), set(removed["id"]), {row["id"]: row["_changed"] for row in changed.to_dicts()}


def test_each_row_that_came_went_or_changed_is_told_by_its_key_and_nothing_else(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.commit(update(USERS, id=1, name="renamed", bio="b1"))
    live.commit(delete(USERS, id=2), insert(USERS, id=9, name=None, bio="b9"))
    live.commit(update(USERS, id=0, name="away", bio="b0"))
    last = live.commit(update(USERS, id=0, name="n0", bio="b0"))
    lake = live.read()

    difference = lake.difference(USERS.name, lake.at(live.first_cut.cut_lsn), lake.at(last))

    assert difference.key == ("id",)
    assert found(difference) == ({9}, {2}, {1: ["name"]})
    change = difference.changed.collect().to_dicts()[0]
    assert (change["_before"]["name"], change["_after"]["name"]) == ("n1", "renamed")


def test_a_row_with_a_new_key_has_gone_and_come(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    last = live.commit(update(USERS, id=7, name="n1", bio="b1", old={"id": 1}))
    lake = live.read()

    difference = lake.difference(USERS.name, lake.at(live.first_cut.cut_lsn), lake.at(last))

    assert found(difference) == ({7}, {1}, {})


def test_a_copy_that_found_the_rows_unchanged_is_no_difference(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    rows = [{"id": 0, "name": "n0", "bio": "b0"}, {"id": 1, "name": "n1", "bio": "other"}]
    live.writer.append_copy(live.source.copy(USERS, rows))
    cut = live.cut()
    lake = live.read()

    difference = lake.difference(USERS.name, lake.at(live.first_cut.cut_lsn), lake.at(cut.cut_lsn))

    assert found(difference) == (set(), {2}, {1: ["bio"]})


def test_rows_without_a_key_are_counted(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.writer.append_copy(live.source.copy(EVENTS, [{"kind": "a", "weight": 1.0}, {"kind": "b", "weight": None}]))
    first = live.cut()
    came = [insert(EVENTS, kind="a", weight=1.0), insert(EVENTS, kind="a", weight=1.0)]
    gone = {"kind": "b", "weight": None}
    last = live.commit(*came, Change(EVENTS, "delete", gone, gone))
    lake = live.read()

    difference = lake.difference(EVENTS.name, lake.at(first.cut_lsn), lake.at(last))

    assert difference.added.collect().to_dicts() == [{"kind": "a", "weight": 1.0}] * 2
    assert difference.removed.collect().to_dicts() == [gone]
    assert difference.changed.collect().is_empty()


def test_a_difference_from_the_later_to_the_earlier_moment_is_refused(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    last = live.commit(delete(USERS, id=2))
    lake = live.read()

    with pytest.raises(ValueError, match="lies after"):
        lake.difference(USERS.name, lake.at(last), lake.at(live.first_cut.cut_lsn))


def test_between_any_two_moments_of_a_random_history_it_is_what_the_states_differ_in(local_root: LakeRoot) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    live = LiveLake(local_root)
    rows = {number: {"id": number, "name": f"n{number}", "bio": f"b{number}"} for number in range(3)}
    known: list[tuple[Lsn, dict[int, dict[str, Any]]]] = [(live.first_cut.cut_lsn, dict(rows))]
    for _ in range(24):
        lsn = live.commit(_random_change(chance, rows))
        if chance.random() < 0.2:
            live.cut()
        known.append((lsn, dict(rows)))
    lake = live.read()

    for _ in range(40):
        (one, before), (other, after) = sorted(chance.sample(known, 2), key=lambda state: state[0])
        both = before.keys() & after.keys()
        changed = {
            key: differing
            for key in both
            if (differing := [name for name in ("name", "bio") if before[key][name] != after[key][name]])
        }
        told = found(lake.difference(USERS.name, lake.at(one), lake.at(other)))
        assert told == (after.keys() - both, before.keys() - both, changed), (seed, one, other)


def _random_change(chance: random.Random, rows: dict[int, dict[str, Any]]) -> Change:
    """Of one row; ``rows`` becomes what the table holds afterwards."""
    key, row = chance.randrange(6), {"name": chance.choice(["x", "y", None]), "bio": chance.choice(["p", None])}
    if key not in rows:
        rows[key] = {"id": key, **row}
        return insert(USERS, **rows[key])
    if chance.random() < 0.3:
        del rows[key]
        return delete(USERS, id=key)
    rows[key] = {"id": key, **row}
    return update(USERS, **rows[key])
