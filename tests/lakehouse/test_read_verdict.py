"""Which moments the lake answers for, and how far its answers can be trusted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.cuts import Gap
from lakehouse.errors import BeforeFirstCut, BeyondLake, HistoryIncomplete, LakeEmpty
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.histories import KEYED
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import START, USERS, Source, insert, update

NAME = "SELECT name FROM public.users WHERE id = 0"


def name_at(lake: Lake, at: Lsn | datetime | str | None) -> str:
    return str(lake.sql(NAME, at=at).arrow["name"][0])


def second(number: float) -> datetime:
    return START + timedelta(seconds=number)


def test_without_a_moment_the_newest_cut_answers_and_now_means_all_that_is_durable(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.commit(update(USERS, id=0, name="durable", bio="b"))

    lake = live.read()

    assert (name_at(lake, None), name_at(lake, "now")) == ("n0", "durable")
    assert lake.at().lsn == live.first_cut.cut_lsn
    assert lake.at().held.lsn == lake.at("now").lsn


def test_while_nothing_is_applied_a_reader_may_take_the_changelogs_tail_along(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    commits = [live.commit(update(USERS, id=0, name=f"v{number}", bio="b")) for number in range(3)]  # and no cut

    lake = live.read()
    applied, all_of_it = lake.sql(NAME), lake.sql(NAME, freshness="changelog")

    assert applied.arrow["name"].to_pylist() == ["n0"]
    assert applied.as_of.lsn == live.first_cut.cut_lsn
    assert all_of_it.arrow["name"].to_pylist() == ["v2"]
    assert all_of_it.as_of.lsn >= commits[-1]
    assert all_of_it.as_of.complete
    assert lake.sql(NAME, at=commits[0], freshness="changelog").arrow["name"].to_pylist() == ["v0"]


def test_a_time_means_the_state_after_the_last_commit_at_or_before_it(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    commits = [live.commit(update(USERS, id=0, name=f"v{number}", bio="b")) for number in (1, 2)]
    lake = live.read()

    answers = [(name_at(lake, time), lake.at(time).lsn, lake.at(time).source_time)
               for time in (second(1), second(1.5), second(2))]  # fmt: skip

    assert answers[0] == answers[1] == ("v1", commits[0], second(1))
    assert (answers[2][0], answers[2][2]) == ("v2", second(2))


def test_a_commit_with_an_earlier_clock_behind_a_later_one_waits_for_it(lake_root: LakeRoot) -> None:
    """Commit times aren't in commit order. As of a time: the longest prefix that has no later commit in it."""
    live = LiveLake(lake_root)
    live.commit(update(USERS, id=0, name="first", bio="b"), at=second(10))
    late = live.commit(update(USERS, id=0, name="late clock", bio="b"), at=second(30))
    live.commit(update(USERS, id=0, name="early clock", bio="b"), at=second(20))
    live.commit(update(USERS, id=0, name="last", bio="b"), at=second(40))
    lake = live.read()

    assert [name_at(lake, second(at)) for at in (10, 20, 25, 29)] == ["first"] * 4
    assert [name_at(lake, second(at)) for at in (30, 35, 39)] == ["early clock"] * 3
    assert name_at(lake, late) == "late clock"


def test_times_up_to_an_idle_report_are_answered_and_later_ones_refused(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.commit(update(USERS, id=0, name="v1", bio="b"))
    nothing = live.source.batch()
    idle = replace(nothing, end_lsn=Lsn(nothing.end_lsn.value + 0x100), source_time=second(600))
    live.writer.append(idle)
    live.writer.advance(idle.end_lsn.before(), idle.source_time)
    lake = live.read()

    assert name_at(lake, second(599)) == name_at(lake, second(600)) == "v1"
    with pytest.raises(BeyondLake) as refused:
        lake.at(second(600.000001))
    assert refused.value.fix and str(idle.end_lsn.before()) in refused.value.what


@pytest.mark.parametrize("beyond", [0, 1, 10**6])
def test_an_lsn_that_the_lake_has_not_reached_is_refused(local_root: LakeRoot, beyond: int) -> None:
    live = LiveLake(local_root)
    reached = live.writer.durable_to
    assert reached is not None

    with pytest.raises(BeyondLake):
        live.read().at(Lsn(reached.value + beyond))
    assert live.read().at(reached.before()).complete


def test_what_lies_before_the_first_cut_is_refused(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.commit(update(USERS, id=0, name="v1", bio="b"))
    lake = live.read()

    for moment in (live.first_cut.cut_lsn.before(), second(-0.000001), "2001-01-01"):
        with pytest.raises(BeforeFirstCut, match="first cut"):
            lake.sql(NAME, at=moment)
    assert name_at(lake, live.first_cut.cut_lsn) == name_at(lake, second(0)) == "n0"


def test_a_lake_without_a_cut_says_that_it_is_empty(lake_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(lake_root, "main")

    with pytest.raises(LakeEmpty):
        Lake.open(lake_root).sql("SELECT 1")
    writer.append_copy(source.copy(USERS, []))
    with pytest.raises(LakeEmpty):
        Lake.open(lake_root).at("now")
    assert Lake.open(lake_root).tables() == [USERS.name]


def test_a_gap_marks_every_answer_that_it_touches_and_no_other(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    before = live.commit(update(USERS, id=0, name="before", bio="b"))
    during = live.commit(update(USERS, id=0, name="during", bio="b"))
    after = live.commit(update(USERS, id=0, name="after", bio="b"))
    live.cut()
    gap = Gap(None, before, after, "slot lost")
    live.writer.record_gap(gap)
    lake = live.read()

    answers = {at: lake.sql(NAME, at=at) for at in (before, during, after)}

    assert {at: answer.as_of.complete for at, answer in answers.items()} == {before: True, during: False, after: True}
    assert answers[during].as_of.gaps == (gap,) == lake.gaps()
    assert answers[during].to_json()["gaps"] == [
        {"table": None, "from_lsn": str(before), "to_lsn": str(after), "reason": "slot lost"}
    ]


def test_a_gap_in_one_table_leaves_answers_about_others_whole(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.writer.append_copy(live.source.copy(KEYED, []))
    live.cut()
    live.writer.record_gap(Gap(KEYED.name, Lsn(1), None, "rows refused"))
    lake = live.read()

    assert lake.sql(NAME).as_of.complete
    assert not lake.sql("SELECT count(*) FROM public.keyed").as_of.complete
    assert not lake.sql('SELECT count(*) FROM changelog."public.keyed"').as_of.complete
    assert not lake.at().complete


def test_an_open_gap_ends_where_it_is_told_to_end(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.writer.record_gap(Gap(None, Lsn(1), None, "slot lost"))
    assert not live.read().at().complete

    live.writer.record_gap(Gap(None, Lsn(1), live.first_cut.cut_lsn, "slot lost"))

    assert live.read().at().complete
    assert [gap.to_lsn for gap in live.read().gaps()] == [live.first_cut.cut_lsn]


def test_a_time_that_may_lie_in_a_gap_is_not_called_complete(local_root: LakeRoot) -> None:
    """Between two events a time may mean any LSN from the one to the other: also those that the gap has swallowed."""
    live = LiveLake(local_root)
    before = live.commit(update(USERS, id=0, name="before", bio="b"))
    live.source.position += 0x1000
    gap = Gap(None, Lsn(before.value + 1), Lsn(live.source.position), "slot lost")
    live.append()
    live.commit(update(USERS, id=0, name="after", bio="b"), at=second(100))
    live.cut()
    live.writer.record_gap(gap)
    lake = live.read()

    assert lake.at(second(0)).complete
    assert lake.at(second(50)).gaps == (gap,)
    assert lake.at("now").complete


def test_a_table_is_not_answered_for_before_it_was_copied(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    live.writer.append(live.source.batch())
    early = live.commit(update(USERS, id=0, name="v1", bio="b"))
    copy = live.source.copy(KEYED, [{"id": 1, "name": "copied"}])
    late = live.commit(insert(KEYED, id=2, name="streamed"))
    uncopied = live.read()
    with pytest.raises(HistoryIncomplete, match="not been copied yet"):
        uncopied.rows(KEYED.name, uncopied.at(late))
    live.writer.append_copy(copy)
    lake = live.read()

    query = "SELECT name FROM public.keyed ORDER BY id"
    with pytest.raises(HistoryIncomplete, match=str(copy.snapshot_lsn)):
        lake.sql(query, at=early)
    assert lake.sql(query, at=copy.snapshot_lsn).arrow["name"].to_pylist() == ["copied"]
    assert lake.sql(query, at=late).arrow["name"].to_pylist() == ["copied", "streamed"]


def test_a_zone_is_assumed_aloud(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.commit(update(USERS, id=0, name="v1", bio="b"))

    answer = live.read().sql(NAME, at=second(1).replace(tzinfo=None).isoformat())

    assert answer.as_of.assumed_zone == "UTC"
    assert answer.to_json()["as_of"] == {
        "lsn": str(answer.as_of.lsn),
        "source_time": second(1).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "assumed_zone": "UTC",
    }


def test_tables_are_listed_by_the_names_that_the_source_gives_them(local_root: LakeRoot) -> None:
    assert LiveLake(local_root).read().tables() == [TableName("public", "users")]
