"""A copy that becomes durable while the stream is further on, and cuts are made at any moment meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cdc.batch import TableCopy
from cdc.relation import Relation
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.source import EVENTS, USERS, Source, insert

ROWS = {USERS: {"id": 1, "name": "n", "bio": "b"}, EVENTS: {"kind": "k", "weight": 1.0}}
LATER = {USERS: {"id": 2, "name": "m", "bio": "c"}, EVENTS: {"kind": "k", "weight": 2.0}}
LAST = {USERS: {"id": 3, "name": "o", "bio": "d"}, EVENTS: {"kind": "l", "weight": 3.0}}


class Copied:
    """A table with a copy, and a second one at hand that says of one row more than the lake has."""

    def __init__(self, root: LakeRoot, table: Relation) -> None:
        self.root, self.table = root, table
        self.source, self.writer = Source(), LakeWriter.open(root, "main")
        self.writer.append_copy(self.source.copy(table, []))
        self.cut()
        self.copy = self.source.copy(table, [ROWS[table]])

    def commit(self, row: dict[str, Any]) -> None:
        self.source.commit(insert(self.table, **row))
        self.writer.append(self.source.batch())

    def cut(self) -> None:
        batch = self.source.batch()
        self.writer.append(batch)
        assert self.writer.advance(batch.end_lsn.before(), batch.source_time) is not None

    def append_copy(self) -> None:
        """As capture does: rows staged first, then the marker with them."""
        staged = [self.writer.stage_copied(replace(self.copy, rows=self.copy.rows.slice(1)))]
        self.writer.append_copy(_marker(self.copy), staged)

    def rows(self) -> Counter[tuple[Any, ...]]:
        names = ", ".join(column.name for column in self.table.columns)
        return _bag(Lake.open(self.root).sql(f"SELECT {names} FROM {self.table.name}").arrow.to_pylist())


@pytest.mark.parametrize("table", [USERS, EVENTS], ids=["keyed", "keyless"])
def test_a_copy_behind_changes_that_no_cut_has_yet_loses_none_of_them(local_root: LakeRoot, table: Relation) -> None:
    lake = Copied(local_root, table)
    lake.commit(LATER[table])

    lake.append_copy()
    lake.commit(LAST[table])
    lake.cut()

    assert lake.rows() == _bag([ROWS[table], LATER[table], LAST[table]])


@pytest.mark.parametrize("table", [USERS, EVENTS], ids=["keyed", "keyless"])
def test_a_cut_that_is_made_as_soon_as_the_copy_is_durable_has_all_of_it(local_root: LakeRoot, table: Relation) -> None:
    lake = Copied(local_root, table)
    lake.commit(LATER[table])
    changelog = lake.writer._tables[table.name].changelog
    changelog._lock = FollowedBy(changelog._lock, 2, lake.cut)  # type: ignore[assignment]

    lake.append_copy()

    assert lake.rows() == _bag([ROWS[table], LATER[table]])


class FollowedBy:
    """A lock behind whose release, the time that is counted, something else gets in."""

    def __init__(self, lock: Any, time: int, then: Callable[[], object]) -> None:
        self._lock, self._time, self._then = lock, time, then

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._time -= 1
        if self._time == 0:
            self._then()


def _marker(copy: TableCopy) -> TableCopy:
    return replace(copy, rows=copy.rows.slice(0, 1))


def _bag(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.values()) for row in rows)
