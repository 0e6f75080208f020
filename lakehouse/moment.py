"""Which moment somebody means: an LSN, a time, or "now". Reading the text decides nothing about any lake.

    16/B374D848                        a commit LSN: every transaction at or before it
    2026-01-31T09:30:00+09:00          a time of the source's clock, with its zone
    2026-01-31 09:30 Asia/Tokyo        the same, with a zone's name
    2026-01-31 09:30                   read in the zone that the caller states, UTC if none
    2026-01-31                         the start of that day, in the same zone
    now                                all that the lake holds, newer than the newest cut if need be
    (nothing)                          the newest cut

A time that a clock change skips or repeats means nothing, or two things: it is refused, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cdc.lsn import Lsn
from lakehouse.errors import UnknownMoment

Freshness: TypeAlias = Literal["cut", "changelog"]
AskedMoment: TypeAlias = "Literal['now'] | str | date | datetime | Lsn | None"

_ZONE_NAME = re.compile(r"\A(?P<time>.*\S)\s+(?P<zone>UTC|GMT|[A-Za-z_]+/[A-Za-z0-9_+\-/]+)\Z")


@dataclass(frozen=True, slots=True)
class NewestCut:
    """What every reader of the lake sees now."""


@dataclass(frozen=True, slots=True)
class NewestHeld:
    """Everything durable in the lake, also what no cut holds yet."""


@dataclass(frozen=True, slots=True)
class AtLsn:
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class AtTime:
    """``time`` is in UTC; ``assumed_zone`` names the zone if the question left it out."""

    time: datetime
    assumed_zone: str | None = None


Moment: TypeAlias = NewestCut | NewestHeld | AtLsn | AtTime


def read_moment(asked: AskedMoment, zone: tzinfo = UTC, freshness: Freshness = "cut") -> Moment:
    """Read what a person typed, or a value. ``zone`` is used only where ``asked`` states none, and ``freshness`` only
    where nothing is asked: "changelog" means then what "now" does.

    Raises: UnknownMoment, for text in no known form and for a local time that doesn't exist or exists twice.
    """
    match asked:
        case None:
            return NewestCut() if freshness == "cut" else NewestHeld()
        case Lsn():
            return AtLsn(asked)
        case datetime():
            return _at_time(asked, zone)
        case date():
            return _at_time(datetime(asked.year, asked.month, asked.day), zone)  # noqa: DTZ001 - the zone comes next
        case str():
            return _read_text(asked.strip(), zone)


def read_zone(name: str) -> tzinfo:
    """A zone by its name in the IANA database. Raises: UnknownMoment."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise UnknownMoment("no zone of that name", subject=name, fix="name one such as Asia/Tokyo or UTC") from error


def _read_text(text: str, zone: tzinfo) -> Moment:
    if text == "now":
        return NewestHeld()
    if "/" in text and " " not in text:
        try:
            return AtLsn(Lsn.parse(text))
        except ValueError as error:
            raise UnknownMoment(str(error), subject=text) from error
    named = _ZONE_NAME.match(text)
    try:
        if named is not None:
            return _at_time(datetime.fromisoformat(named["time"]), ZoneInfo(named["zone"]), named=True)
        if text.isdigit():  # fromisoformat would take 20260131 and also 2026013109
            raise ValueError("digits alone are neither an LSN nor a time")
        return _at_time(datetime.fromisoformat(text), zone)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise UnknownMoment(f"neither an LSN nor a time ({error})", subject=text) from error


def _at_time(time: datetime, zone: tzinfo, *, named: bool = False) -> AtTime:
    if time.tzinfo is not None:
        if named:
            raise UnknownMoment("states its zone twice", subject=str(time))
        return AtTime(time.astimezone(UTC))
    local = time.replace(tzinfo=zone, fold=0)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        skipped = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != time.replace(fold=0)
        raise UnknownMoment(
            f"{'does not exist' if skipped else 'exists twice'} in {zone}: the clocks change there",
            subject=time.isoformat(sep=" "),
            fix="state the offset, for example 2026-01-31T09:30:00+09:00",
        )
    return AtTime(local.astimezone(UTC), None if named else str(zone))
