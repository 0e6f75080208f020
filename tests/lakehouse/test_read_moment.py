"""What people type as a moment, and what it means."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from cdc.lsn import Lsn
from lakehouse.errors import UnknownMoment
from lakehouse.moment import AtLsn, AtTime, Moment, NewestCut, NewestHeld, read_moment, read_zone

TOKYO = ZoneInfo("Asia/Tokyo")
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("asked", "means"),
    [
        (None, NewestCut()),
        ("now", NewestHeld()),
        ("16/B374D848", AtLsn(Lsn(0x16B374D848))),
        (Lsn(7), AtLsn(Lsn(7))),
        ("2026-01-31T09:30:00+09:00", AtTime(datetime(2026, 1, 31, 0, 30, tzinfo=UTC))),
        ("2026-01-31 09:30:00.123456+09", AtTime(datetime(2026, 1, 31, 0, 30, 0, 123456, tzinfo=UTC))),
        ("2026-01-31T00:30Z", AtTime(datetime(2026, 1, 31, 0, 30, tzinfo=UTC))),
        ("2026-01-31 09:30 Asia/Tokyo", AtTime(datetime(2026, 1, 31, 0, 30, tzinfo=UTC))),
        ("2026-01-31 09:30", AtTime(datetime(2026, 1, 31, 9, 30, tzinfo=UTC), "UTC")),
        ("2026-01-31", AtTime(datetime(2026, 1, 31, tzinfo=UTC), "UTC")),
        (date(2026, 1, 31), AtTime(datetime(2026, 1, 31, tzinfo=UTC), "UTC")),
        (datetime(2026, 1, 31, 9, tzinfo=TOKYO), AtTime(datetime(2026, 1, 31, tzinfo=UTC))),
    ],
)
def test_each_form_means_one_moment(asked: str | date | Lsn | None, means: Moment) -> None:
    assert read_moment(asked) == means


def test_a_day_starts_in_the_stated_zone_and_the_answer_names_it() -> None:
    moment = read_moment("2026-01-31", zone=TOKYO)

    assert moment == AtTime(datetime(2026, 1, 30, 15, tzinfo=UTC), "Asia/Tokyo")


def test_a_zone_is_known_by_its_name_only() -> None:
    assert read_moment("2026-01-31", zone=read_zone("Asia/Tokyo")) == read_moment("2026-01-31", zone=TOKYO)
    for name in ("JST+9", "../etc/passwd", "Mars/Olympus", ""):
        with pytest.raises(UnknownMoment):
            read_zone(name)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "16/XYZ", "20260131", "2026-13-01", "2026-01-31 09:30 Mars/Olympus",
             "2026-01-31 09:30+09:00 Asia/Tokyo", "9999999999/0"]
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_own_text(text: str) -> None:
    with pytest.raises(UnknownMoment) as refused:
        read_moment(text)

    assert refused.value.fix


@pytest.mark.parametrize(
    ("text", "why"), [("2026-03-08 02:30", "does not exist"), ("2026-11-01 01:30", "exists twice")]
)
def test_a_local_time_that_a_clock_change_skips_or_repeats_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnknownMoment, match=why):
        read_moment(text, zone=NEW_YORK)
