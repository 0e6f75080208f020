"""One table that can't be applied: the others go on, its own answers say so, and a copy heals it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cdc.batch import Part, TableChanges
from cdc.lsn import Lsn
from lakehouse.current import Current
from lakehouse.errors import CorruptCommit
from lakehouse.generation import NOTHING_VOUCHED, Hold
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


def as_text(changes: TableChanges) -> TableChanges:
    """Rows in another type than their table has: `id` as text that is no number."""
    ids = pa.array(["seven"] * changes.rows.num_rows)
    return replace(changes, rows=changes.rows.set_column(0, "id", ids))


@pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "in parts"])
def test_a_table_whose_changes_cannot_be_written_holds_itself_and_nobody_else(lake: Lakeful, in_parts: bool) -> None:
    good = lake.source.commit(insert(BEFORE, id=3, a="z"))
    lake.deliver()
    bad = lake.source.commit(insert(BEFORE, id=7, a="seven"), insert(OTHER, id=1))
    batch = lake.source.batch()
    tables = tuple(as_text(one) if one.relation == BEFORE else one for one in batch.tables)
    for _ in range(2):  # again, as after a crash
        staged = lake.writer.stage(Part("main", bad, tables), {}) if in_parts else {}
        lake.writer.append(replace(batch, tables=() if in_parts else tables), staged)
    lake.writer.advance(batch.end_lsn.before(), batch.source_time)
    lake.source.commit(insert(BEFORE, id=8, a="later"), insert(OTHER, id=2))
    held_at = lake.deliver()

    assert others(lake) == 2
    assert lake.rows(held_at) == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}, {"id": 3, "a": "z"}]
    ((reason, since, until),) = lake.verdict(held_at)
    assert "can't be written" in reason and good <= since < bad and until is None
    (aside,) = lake.writer.quarantined(NAME)
    assert isinstance(aside, TableChanges) and aside.relation == BEFORE
    assert aside.rows["id"].to_pylist() == ["seven"], "once"

    mended = replace(aside, rows=aside.rows.set_column(0, "id", pa.array([7])))
    assert lake.writer.replay(NAME, [mended], carried=True) == 1
    lake.source.commit(insert(OTHER, id=3))
    healed = lake.deliver()

    assert [row["id"] for row in lake.rows(healed)] == [1, 2, 3, 7, 8]
    assert [row["id"] for row in lake.rows(bad)] == [1, 2, 3, 7]
    assert lake.verdict(healed) == []


def test_what_came_again_after_a_crash_and_could_be_taken_is_not_replayed_beside_it(lake: Lakeful) -> None:
    lake.source.commit(insert(BEFORE, id=3, a="z"))
    first = lake.source.batch()
    lake.source.commit(insert(BEFORE, id=7, a="seven"))
    second = lake.source.batch()
    (good,), (bad,) = first.tables, second.tables
    rows = pa.concat_tables([as_text(good).rows, as_text(bad).rows])
    together = replace(second, from_lsn=first.from_lsn, tables=(TableChanges(BEFORE, rows),))
    lake.writer._put_aside(  # the process dies before the batch is durable
        lake.writer._table(NAME), together.tables, pa.ArrowInvalid("no such value"), NOTHING_VOUCHED
    )
    lake.writer.append(first)
    lake.writer.append(second)

    (aside,) = lake.writer.quarantined(NAME)
    assert isinstance(aside, TableChanges) and aside.rows.num_rows == 2
    mended = replace(aside, rows=aside.rows.set_column(0, "id", pa.array([3, 7])))
    assert lake.writer.replay(NAME, [mended], carried=True) == 0
    lake.source.commit(insert(OTHER, id=1))
    lake.deliver()

    assert [row["id"] for row in lake.rows()] == [1, 2, 3, 7]


def test_a_copy_that_lies_before_what_was_put_aside_ends_only_the_other_hold(lake: Lakeful) -> None:
    lake.writer.hold(NAME, Lsn(lake.source.position + 1), Hold("a look says so", Lsn(lake.source.position)))
    lake.source.commit(insert(BEFORE, id=3, a="z"))
    lake.deliver()
    copy = lake.source.copy(BEFORE, [{"id": 1, "a": "x"}, {"id": 3, "a": "z"}])
    bad = lake.source.commit(insert(BEFORE, id=7, a="seven"), insert(OTHER, id=1))
    batch = lake.source.batch()
    lake.writer.append(replace(batch, tables=tuple(as_text(t) if t.relation == BEFORE else t for t in batch.tables)))
    lake.writer.append_copy(copy)
    lake.writer.advance(batch.end_lsn.before(), batch.source_time)

    held = lake.writer.held(NAME)
    assert held is not None and held.hold.quarantined and held.at == bad.before()
    assert [row["id"] for row in lake.rows(bad)] == [1, 3]
    assert [until for _, _, until in lake.verdict(bad)] == [None]
