"""What a lake promises to keep, and for how long. The promise is on record in the lake itself.

    every      every version of every `current` table
    hourly     then the last before each hour
    daily      then the last before each day; hours and days are those of `zone`

Changes and intervals are never removed, so any commit answers exactly, whatever versions are kept. Times are counted
back from the newest cut's source time, so a lake that stands still forgets nothing. Whoever maintains the lake with a
promise that says less than the one on record is refused until a person has said that less is meant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lakehouse.store import Store

RECORD: Final = "_rireki/promise.json"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Promise:
    """``zone`` is a name of the tz database."""

    every: timedelta
    hourly: timedelta
    daily: timedelta
    zone: str

    @classmethod
    def recorded(cls, store: Store) -> Promise | None:
        """What the lake was last promised; None before the first maintenance."""
        body = store.get(RECORD)
        if body is None:
            return None
        told = json.loads(body)
        every, hourly, daily = (timedelta(seconds=told[name]) for name in _LASTING)
        return cls(every, hourly, daily, told["zone"])

    def record(self, store: Store) -> None:
        """Durable when this returns."""
        lasts = {name: self._lasts(name).total_seconds() for name in _LASTING}
        store.replace(RECORD, json.dumps({"zone": self.zone, **lasts}).encode())

    def less_than(self, recorded: Promise) -> Iterator[str]:
        """In which points this promises less, each in a few words."""
        for name in _LASTING:
            was, now = recorded._lasts(name), self._lasts(name)
            if now < was:
                yield f"{name} was promised for {duration(was)} and is now {duration(now)}"
        if recorded.zone != self.zone and self.daily > self.every:
            yield f"days began in {recorded.zone} and now begin in {self.zone}"

    @property
    def versions(self) -> timedelta:
        """How far back versions reach at all."""
        return max(self.every, self.hourly, self.daily)

    @property
    def table_properties(self) -> dict[str, str]:
        """What makes other engines read versions as far back, in the only unit that all of them understand.

        Spark refuses versions older than ``deletedFileRetentionDuration`` and wants the log to last no shorter.
        delta-rs takes months and years without a word, and keeps 30 days.
        """
        days = f"interval {math.ceil(self.versions / _DAY) + 1} days"
        return {"delta.deletedFileRetentionDuration": days, "delta.logRetentionDuration": days}

    def _lasts(self, name: str) -> timedelta:
        lasts: timedelta = getattr(self, name)
        return lasts


_LASTING = ("every", "hourly", "daily")


def duration(lasts: timedelta) -> str:
    """For people: ``7 days``, ``36 hours``."""
    if lasts % _DAY:
        return f"{lasts / timedelta(hours=1):g} hours"
    return f"{lasts // _DAY} days"
