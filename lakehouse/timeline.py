"""How far a lake holds, and which LSN a time means.

``cuts`` and ``transactions`` are one line of events, each an LSN and the source's time there. Commit times don't
strictly follow commit order (two backends take their time before they queue for the log), so a time T means *the
longest prefix of the commit order whose commits are all at or before T*: all before the first event later than T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cdc.lsn import Lsn
from lakehouse.cuts import CUTS_SCHEMA, Cut, Gap, cuts_from_arrow, newest_gaps
from lakehouse.errors import LakeEmpty
from lakehouse.events import Event, Events
from lakehouse.opening import table_state
from lakehouse.root import LakeRoot


@dataclass(frozen=True, slots=True)
class Timeline:
    """``cuts`` and ``transactions`` as they were when it was read.

    ``first`` and ``held`` bound what can be asked: from the first cut to the newest durable position.
    """

    versions: tuple[int, int]  # of transactions and cuts
    cuts: Events
    transactions: Events | None
    first: Event
    newest_cut: Event
    held: Event
    gaps: tuple[Gap, ...]

    @classmethod
    def read(cls, root: LakeRoot, before: Timeline | None = None) -> Timeline:
        """``before`` is what was read earlier: it comes back where nothing has been written since.

        Raises: LakeEmpty before the first cut, and what ``table_state`` raises.
        """
        # Transactions first: cuts that come in between vouch for no less than what we then claim to hold.
        told, cut = table_state(root, "transactions"), table_state(root, "cuts")
        if before is not None and before.versions == (told.version, cut.version):
            return before
        known = (None, None) if before is None else (before.transactions, before.cuts)
        store = root.store()
        transactions = Events.of(store, "transactions", told, "commit_lsn", "committed_at", known[0])
        cuts = Events.of(store, "cuts", cut, "cut_lsn", "source_time", known[1])
        first, newest = (None, None) if cuts is None else (cuts.first(), cuts.newest())
        if cuts is None or first is None or newest is None:
            raise LakeEmpty("no cut has been written yet: nothing can be read", subject=root.url)
        held = _held(newest, transactions, told.markers)
        return cls((told.version, cut.version), cuts, transactions, first, newest, held, _gaps(cuts))

    def event_at(self, lsn: Lsn) -> Event:
        """The newest event at or before ``lsn``, which is at or after the first cut."""
        found = [event for events in self._lines() if (event := events.newest(lsn)) is not None]
        return max(found, key=lambda event: event.lsn, default=self.first)

    def first_later_than(self, time: datetime) -> Event | None:
        """The first event, in LSN order, that happened after ``time``."""
        found = [event for events in self._lines() if (event := events.first_later_than(time)) is not None]
        return min(found, key=lambda event: event.lsn, default=None)

    def newest_event(self) -> Event:
        """Where several streams write, it may lie beyond ``held``."""
        found = [event for events in self._lines() if (event := events.newest()) is not None]
        return max(found, key=lambda event: event.lsn)

    def newest_time(self) -> datetime:
        return max(time for events in self._lines() if (time := events.newest_time()) is not None)

    def cut_at(self, lsn: Lsn) -> Cut | None:
        """The newest cut at or before ``lsn``, with every table's version."""
        event = self.cuts.newest(lsn)
        if event is None:
            return None
        # A gap told later repeats the cut's row; the newest says it all.
        return max(cuts_from_arrow(self.cuts.rows_at(event.lsn, CUTS_SCHEMA)), key=lambda cut: cut.written_at)

    def _lines(self) -> tuple[Events, ...]:
        return (self.cuts,) if self.transactions is None else (self.cuts, self.transactions)


def _held(newest_cut: Event, transactions: Events | None, markers: Mapping[str, int]) -> Event:
    """The changelogs are durable to the marker of the slowest stream: what it doesn't reach, only a cut vouches for."""
    streams = [version for application, version in markers.items() if application.startswith("rireki/")]
    if transactions is None or not streams or min(streams) - 1 <= newest_cut.lsn.value:
        return newest_cut
    durable = Lsn(min(streams)).before()
    told = transactions.newest(durable)
    later = told is not None and told.lsn > newest_cut.lsn
    return Event(durable, told.time if told is not None and later else newest_cut.time)


def _gaps(cuts: Events) -> tuple[Gap, ...]:
    """What the lake can't vouch for, oldest first; a gap told again replaces what was told before."""
    return newest_gaps(cuts_from_arrow(cuts.rows_with_gaps(CUTS_SCHEMA)))
