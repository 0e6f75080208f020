"""From a moment to what is answered: the LSN, the cut to start from, and the verdict.

As of L = every transaction with a commit LSN <= L. A moment that the lake doesn't hold is an error, never the nearest
one that it does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.cuts import Cut, Gap
from lakehouse.errors import BeforeFirstCut, BeyondLake
from lakehouse.events import Event
from lakehouse.moment import AtLsn, AtTime, Moment, NewestCut, NewestHeld
from lakehouse.timeline import Timeline


@dataclass(frozen=True, slots=True)
class AsOf:
    """One point of the source, and how far an answer there can be trusted.

    ``source_time`` (UTC, the source's clock) is that of the newest commit or idle report at or before ``lsn``.
    ``complete`` is False when a gap touches the answer; ``gaps`` are those that do. ``held`` is how far the whole lake
    reaches. ``assumed_zone`` names the zone in which a time without one was read.
    """

    lsn: Lsn
    source_time: datetime
    cut: Cut
    gaps: tuple[Gap, ...]
    held: Event
    assumed_zone: str | None = None

    @property
    def complete(self) -> bool:
        return not self.gaps

    @property
    def needs_tail(self) -> bool:
        """True when ``lsn`` lies between two cuts, so that the changelog after ``cut`` has to be folded over it."""
        return self.lsn > self.cut.cut_lsn

    def of(self, tables: Collection[TableName]) -> AsOf:
        """The same point, judged for these tables only."""
        return replace(self, gaps=tuple(gap for gap in self.gaps if gap.table is None or gap.table in tables))


def resolve(moment: Moment, timeline: Timeline) -> AsOf:
    """Raises: BeforeFirstCut, BeyondLake."""
    assumed_zone: str | None = None
    match moment:
        case NewestCut():
            lsn = last_known = timeline.newest_cut.lsn
        case NewestHeld():
            lsn = last_known = timeline.held.lsn
        case AtLsn():
            lsn = last_known = moment.lsn
        case AtTime():
            lsn, last_known = _at_time(moment.time, timeline)
            assumed_zone = moment.assumed_zone
        case _:
            assert_never(moment)
    if lsn > timeline.held.lsn:
        raise BeyondLake(f"the lake holds every commit up to {_told(timeline.held)}", subject=str(lsn))
    cut = timeline.cut_at(lsn)
    if cut is None:
        raise BeforeFirstCut(f"the lake's first cut is {_told(timeline.first)}", subject=str(lsn))
    touching = tuple(gap for gap in timeline.gaps if touches(gap, last_known, lsn))
    # The state hasn't changed since the last event, and its cut is the one whose state is read fastest.
    lsn = lsn if isinstance(moment, AtLsn) else last_known
    return AsOf(lsn, timeline.event_at(lsn).time, cut, touching, timeline.held, assumed_zone)


def touches(gap: Gap, last_known: Lsn, lsn: Lsn) -> bool:
    """Whether an answer at ``lsn`` can miss something that the gap swallowed.

    ``last_known`` is the newest event that is certainly part of the answer. It is ``lsn`` itself when an LSN was asked.
    For a time it may be older: then the moment meant lies anywhere from there to ``lsn``, and so may the gap.
    The copy that ended a gap repairs everything from ``to_lsn`` on.
    """
    return gap.from_lsn < lsn and (gap.to_lsn is None or last_known < gap.to_lsn)


def _at_time(time: datetime, timeline: Timeline) -> tuple[Lsn, Lsn]:
    """The last LSN that ``time`` includes, and that of the last event in it (the first cut where there is none)."""
    later = timeline.first_later_than(time)
    if later is None:
        # Nothing later is known: only what the source has told us about can be vouched for.
        newest = timeline.newest_event()
        if time > timeline.newest_time() or newest.lsn > timeline.held.lsn:
            raise BeyondLake(f"the lake holds every commit up to {_told(timeline.held)}", subject=time.isoformat())
        return timeline.held.lsn, newest.lsn
    upper = later.lsn.before()
    if upper < timeline.first.lsn:
        raise BeforeFirstCut(f"the lake's first cut is {_told(timeline.first)}", subject=time.isoformat())
    if upper > timeline.held.lsn:
        raise BeyondLake(f"the lake holds every commit up to {_told(timeline.held)}", subject=time.isoformat())
    return upper, timeline.event_at(upper).lsn


def _told(event: Event) -> str:
    return f"{event.lsn} ({event.time.isoformat()})"
