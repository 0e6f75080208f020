"""Which versions of a table a promise keeps: every one for a while, then the last before each hour, then each day.

Pure: versions and the time come in. "The last before" a boundary is asked by both clocks: the source's, by which
`rireki sql --at` asks, and ours, by which Delta's `timestampAsOf` does. They name one version but for a cut that was
written across the boundary; then both are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from lakehouse.promise import Promise
from lakehouse.retained import Kept

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Thinned:
    """Every version from ``since`` on, and ``kept`` of those before, oldest first."""

    since: Kept
    kept: tuple[Kept, ...]


def thin(
    versions: Sequence[Kept], promise: Promise, now: datetime, pinned: Mapping[int, str], gone_before: int = 0
) -> Thinned:
    """``versions``: all that are still there, oldest first, at least one. ``now``: what the promise counts back from.

    ``pinned``: versions that are kept whatever their age, and the names of their pins. ``gone_before``: of versions
    before this one only some are there, so that nobody may say of an earlier one that all are kept since.
    """
    # A version holds from the moment that all before it have happened: clocks don't strictly follow commits.
    clocks = [
        list(accumulate((one.from_time for one in versions), max)),
        list(accumulate((one.written_at for one in versions), max)),
    ]

    def at(time: datetime) -> set[int]:
        found = (bisect_right(clock, time) - 1 for clock in clocks)
        return {index for index in found if index >= 0}

    whole = now - promise.every
    wanted = max(0, min(bisect_right(clock, whole) for clock in clocks) - 1)
    since = max(wanted, next((index for index, one in enumerate(versions) if one.version >= gone_before), wanted))
    kept = set(range(wanted, since))
    kept |= {index for time in boundaries(promise, now) for index in at(time) if index < since}
    kept |= {index for index, one in enumerate(versions[:since]) if one.version in pinned}
    return Thinned(versions[since], tuple(versions[index] for index in sorted(kept)))


def boundaries(promise: Promise, now: datetime) -> Iterator[datetime]:
    """Starts of days and hours of the promise's zone, UTC, where only the last version before them is promised."""
    until = now - promise.every
    for day in _days(now - promise.daily, until, promise.zone):
        yield day
    for day in _days(now - promise.hourly - timedelta(days=1), until, promise.zone):
        for hour in range(25):  # the day of a clock change has 23 or 25
            start = day + hour * _HOUR
            if now - promise.hourly <= start <= until:
                yield start


def _days(since: datetime, until: datetime, zone: str) -> Iterator[datetime]:
    place = ZoneInfo(zone)
    day = since.astimezone(place).date()
    while (start := datetime(day.year, day.month, day.day, tzinfo=place).astimezone(UTC)) <= until:
        if start >= since:
            yield start
        day += timedelta(days=1)
