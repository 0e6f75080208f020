"""How far a lake holds, and which LSN a time means.

``cuts`` and ``transactions`` are one line of events, each an LSN and the source's time there. Commit times don't
strictly follow commit order (two backends take their time before they queue for the log), so a time T means *the
longest prefix of the commit order whose commits are all at or before T*: all before the first event later than T.

Both tables grow for years. The bounds in their Delta logs tell which files an event can be in, so that a look-up
reads a few files, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from deltalake import DeltaTable

from cdc.lsn import Lsn
from lakehouse.cuts import Cut, Gap, cuts_from_arrow, newest_gaps
from lakehouse.errors import LakeEmpty
from lakehouse.opening import open_table, reading
from lakehouse.root import LakeRoot
from lakehouse.table_state import load


@dataclass(frozen=True, slots=True)
class Event:
    """The source had come to ``lsn`` at ``time`` (UTC, its own clock)."""

    lsn: Lsn
    time: datetime


@dataclass(frozen=True, slots=True)
class Events:
    """One table of events at one Delta version."""

    table: DeltaTable
    lsn: str
    time: str

    def first(self) -> Event | None:
        return self._one(pl.col(self.lsn) <= _least(self._bounds()["max_lsn"]))

    def newest(self, to: Lsn | None = None) -> Event | None:
        """The event with the greatest LSN, at or before ``to``."""
        within = self._bounds() if to is None else self._bounds().filter(pl.col("min_lsn") <= to.value)
        if within.is_empty():
            return None
        # The file that starts last before ``to`` holds an event there; what we want is that one or a later one.
        found = pl.col(self.lsn) >= _greatest(within["min_lsn"])
        return self._one(found if to is None else found & (pl.col(self.lsn) <= to.value), newest=True)

    def first_later_than(self, time: datetime) -> Event | None:
        """The event with the least LSN whose time is after ``time``."""
        later = self._bounds().filter(pl.col("max_time") > time)
        if later.is_empty():
            return None
        return self._one((pl.col(self.time) > time) & (pl.col(self.lsn) <= _least(later["max_lsn"])))

    def newest_time(self) -> datetime | None:
        bounds = self._bounds()
        return None if bounds.is_empty() else bounds["max_time"].max()  # type: ignore[return-value]

    def rows(self) -> pl.LazyFrame:
        return pl.scan_delta(self.table)

    def _one(self, where: pl.Expr, *, newest: bool = False) -> Event | None:
        with reading(self.table.table_uri):
            row = (
                self.rows()
                .filter(where)
                .select(pl.col(self.lsn).alias("lsn"), pl.col(self.time).alias("time"))
                .sort("lsn", descending=newest)
                .head(1)
                .collect()
            )
        return None if row.is_empty() else Event(Lsn(row["lsn"][0]), row["time"][0].astimezone(UTC))

    def _bounds(self) -> pl.DataFrame:
        """Per data file: min_lsn, max_lsn, max_time. The writer always states them."""
        files = pl.DataFrame(self.table.get_add_actions(flatten=True))
        return files.select(
            pl.col(f"min.{self.lsn}").alias("min_lsn"),
            pl.col(f"max.{self.lsn}").alias("max_lsn"),
            pl.col(f"max.{self.time}").cast(pl.Datetime("us", "UTC")).alias("max_time"),
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """``cuts`` and ``transactions`` as they were when it was read.

    ``first`` and ``held`` bound what can be asked: from the first cut to the newest durable position.
    """

    cuts: Events
    transactions: Events | None
    first: Event
    newest_cut: Event
    held: Event
    gaps: tuple[Gap, ...]

    @classmethod
    def read(cls, root: LakeRoot) -> Timeline:
        """Raises: LakeEmpty before the first cut, and what ``open_table`` raises."""
        # Markers before rows: rows that come in between lie beyond what we then claim to hold.
        markers = load(root.store(), "transactions", "transactions").markers
        told = open_table(root, root.uri_of("transactions"), "transactions")
        table = open_table(root, root.uri_of("cuts"), "cuts")
        cuts = None if table is None else Events(table, "cut_lsn", "source_time")
        first, newest = (None, None) if cuts is None else (cuts.first(), cuts.newest())
        if cuts is None or first is None or newest is None:
            raise LakeEmpty("no cut has been written yet: nothing can be read", subject=root.url)
        transactions = None if told is None else Events(told, "commit_lsn", "committed_at")
        return cls(cuts, transactions, first, newest, _held(newest, transactions, markers), _gaps(cuts))

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
        times = [time for events in self._lines() if (time := events.newest_time()) is not None]
        return max(times)

    def cut_at(self, lsn: Lsn) -> Cut | None:
        """The newest cut at or before ``lsn``, with every table's version."""
        event = self.cuts.newest(lsn)
        if event is None:
            return None
        with reading("cuts"):
            found = self.cuts.rows().filter(pl.col("cut_lsn") == event.lsn.value).collect()
        # A gap told later repeats the cut's row; the newest says it all.
        return max(cuts_from_arrow(found.to_arrow()), key=lambda cut: cut.written_at)

    def _lines(self) -> tuple[Events, ...]:
        return (self.cuts,) if self.transactions is None else (self.cuts, self.transactions)


def _held(newest_cut: Event, transactions: Events | None, markers: dict[str, int]) -> Event:
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
    with reading("cuts"):
        told = cuts.rows().filter(pl.col("gap_count") > 0).collect()
    return newest_gaps(cuts_from_arrow(told.to_arrow()))


def _least(column: pl.Series) -> int:
    return int(column.min())  # type: ignore[arg-type]


def _greatest(column: pl.Series) -> int:
    return int(column.max())  # type: ignore[arg-type]
