"""One table that can't be applied: the others go on, its own answers say so, and a copy heals it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cdc.lsn import Lsn
from lakehouse.current import Current
from lakehouse.errors import CorruptCommit
from lakehouse.generation import Hold
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from tests.lakehouse.source import delete, insert, relation, update
from tests.lakehouse.test_columns import BEFORE, NAME, Lakeful

OTHER = relation("public.other", {"id": pa.int64()}, key=["id"])


@pytest.fixture
def lake(local_root: LakeRoot) -> Lakeful:
    found = Lakeful(local_root)
    found.copy(BEFORE, {"id": 1, "a": "x"}, {"id": 2, "a": "y"})
    found.copy(OTHER)
    found.deliver()
    return found


def others(lake: Lakeful) -> int:
    answer = Lake.open(lake.root).sql("SELECT count(*) AS n FROM public.other")
    assert answer.as_of.complete
    return int(answer.arrow["n"][0].as_py())


def test_a_table_that_cannot_be_applied_holds_itself_and_nobody_else(lake: Lakeful) -> None:
    last_good = lake.source.commit(update(BEFORE, id=1, a="x2"))
    lake.deliver()
    lake.source.commit(delete(BEFORE, id=77), insert(OTHER, id=1))  # a row that the lake doesn't hold
    lake.deliver()
    lake.source.commit(insert(BEFORE, id=3, a="z"), insert(OTHER, id=2))
    held_at = lake.deliver()

    assert others(lake) == 2
    assert lake.rows(held_at) == lake.rows(last_good) == [{"id": 1, "a": "x2"}, {"id": 2, "a": "y"}]
    ((reason, _, until),) = lake.verdict(held_at)
    assert "can't be applied" in reason and "77" in reason and until is None
    held = lake.writer.held(NAME)
    assert held is not None and held.hold.by_itself

    lake.copy(BEFORE, {"id": 1, "a": "x2"}, {"id": 3, "a": "z"})
    lake.source.commit(insert(OTHER, id=3))
    healed = lake.deliver()

    assert lake.rows(healed) == [{"id": 1, "a": "x2"}, {"id": 3, "a": "z"}]
    assert lake.verdict(healed) == []
    assert others(lake) == 3


def test_a_copy_that_cannot_be_applied_waits_for_somebody(lake: Lakeful, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.source.commit(update(BEFORE, id=1, a="x2"))
    good = lake.deliver()
    advance = Current.advance

    def fail(current: Current, *arguments: Any, **options: Any) -> int:
        if "/t" in current._log.path:
            raise CorruptCommit("a file is gone", subject="public.t")
        return advance(current, *arguments, **options)

    monkeypatch.setattr(Current, "advance", fail)
    lake.source.commit(update(BEFORE, id=1, a="x3"))
    lake.copy(BEFORE, {"id": 1, "a": "x4"})
    lake.source.commit(insert(OTHER, id=1))
    held_at = lake.deliver()

    held = lake.writer.held(NAME)
    assert held is not None and not held.hold.by_itself
    assert lake.rows(held_at) == lake.rows(good) == [{"id": 1, "a": "x2"}, {"id": 2, "a": "y"}]
    assert others(lake) == 1

    monkeypatch.undo()
    lake.copy(BEFORE, {"id": 1, "a": "x5"})
    lake.source.commit(insert(OTHER, id=2))
    healed = lake.deliver()

    assert lake.rows(healed) == [{"id": 1, "a": "x5"}]
    assert lake.verdict(healed) == []


def test_two_holds_that_were_certain_up_to_the_same_look_are_one_gap_to_the_last_copy(lake: Lakeful) -> None:
    certain = Lsn(lake.source.position)
    ends = []
    for number in (3, 4):
        lake.source.commit(insert(OTHER, id=number))
        lake.deliver()
        lake.writer.hold(NAME, Lsn(lake.source.position + 1), Hold("a look says so", certain))
        lake.source.commit(insert(BEFORE, id=number, a="z"))
        lake.deliver()
        ends.append(lake.copy(BEFORE, {"id": 1, "a": "x"}))
        lake.source.commit(insert(OTHER, id=10 * number))
        lake.deliver()
    for number in (5, 6, 7):
        lake.source.commit(insert(OTHER, id=number))
        lake.deliver()
        gaps = Lake.open(lake.root).gaps({NAME})
        assert [(gap.from_lsn, gap.to_lsn) for gap in gaps] == [(certain, ends[-1])], "at each cut"


def test_a_staged_copy_whose_answer_was_lost_keeps_its_files(lake: Lakeful) -> None:
    copy = lake.source.copy(BEFORE, [{"id": 7, "a": "staged"}])
    staged = [lake.writer.stage_copied(replace(copy, rows=copy.rows.slice(1)))]
    marker = replace(copy, rows=copy.rows.slice(0, 1))

    for _ in range(2):  # again, as after an error that hid the commit
        lake.writer.append_copy(marker, staged)
    lake.source.commit(insert(BEFORE, id=8, a="z"))
    lake.deliver()

    assert lake.rows() == [{"id": 7, "a": "staged"}, {"id": 8, "a": "z"}]
