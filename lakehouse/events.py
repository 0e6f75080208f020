"""A table of events (``cuts``, ``transactions``), each an LSN and the source's time there, at one version of it.

Such a table grows for years, by a file or so a second. The bounds that the log states for each file tell which of them
an event can be in; they are held in memory, so that a look-up reads a file or two, however many there are.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc.batch import TIMESTAMP
from cdc.lsn import Lsn
from lakehouse import parquet
from lakehouse.errors import HistoryIncomplete
from lakehouse.store import Store
from lakehouse.table_state import TableState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND_US = 1_000


@dataclass(frozen=True, slots=True)
class Event:
    """The source had come to ``lsn`` at ``time`` (UTC, its own clock)."""

    lsn: Lsn
    time: datetime


@dataclass(frozen=True, slots=True)
class _File:
    """A data file, and bounds of what is in it. ``newest_us`` may be a millisecond late, never early."""

    path: str
    first: int
    last: int
    newest_us: int
    gaps: int


@dataclass(frozen=True, slots=True)
class Events:
    """``lsn`` and ``time`` name the columns that make a row an event."""

    store: Store
    table: str
    lsn: str
    time: str
    version: int
    _files: Mapping[str, _File]
    _by_first: tuple[_File, ...]
    _firsts: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, store: Store, table: str, state: TableState, lsn: str, time: str, before: Events | None = None
    ) -> Events | None:
        """None where there is no such table. ``before``: the same table's at an older version, to save work."""
        if not state.exists:
            return None
        known = {} if before is None else before._files
        files = {path: known.get(path) or _bounded(path, file.stats, lsn, time) for path, file in state.files.items()}
        by_first = tuple(sorted(files.values(), key=lambda file: file.first))
        firsts = np.array([file.first for file in by_first], dtype=np.int64)
        return cls(store, table, lsn, time, state.version, files, by_first, firsts)

    @property
    def paths(self) -> Iterable[str]:
        """Its files, relative to the table."""
        return self._files.keys()

    def first(self) -> Event | None:
        return min(self._events(self._by_first[:1]), key=lambda event: event.lsn, default=None)

    def newest(self, to: Lsn | None = None) -> Event | None:
        """The event with the greatest LSN, at or before ``to``."""
        begun = len(self._firsts) if to is None else int(np.searchsorted(self._firsts, to.value, side="right"))
        if begun == 0:
            return None
        # The file that begins last holds an event at or before ``to``; what we want is that one or a later one.
        least = int(self._firsts[begun - 1])
        within = self._events(file for file in self._by_first[:begun] if file.last >= least)
        return max((event for event in within if to is None or event.lsn <= to), key=lambda event: event.lsn)

    def first_later_than(self, time: datetime) -> Event | None:
        """The event with the least LSN whose time is after ``time``."""
        time_us = _micros(time)
        found: Event | None = None
        for file in self._by_first:
            if found is not None and file.first > found.lsn.value:
                break
            if file.newest_us > time_us:
                later = [event for event in self._events([file]) if event.time > time]
                found = min([*later, *([found] if found else [])], key=lambda event: event.lsn, default=None)
        return found

    def newest_time(self) -> datetime | None:
        latest = max((file.newest_us for file in self._by_first), default=0)
        within = self._events(file for file in self._by_first if file.newest_us > latest - _MILLISECOND_US)
        return max((event.time for event in within), default=None)

    def rows_at(self, lsn: Lsn, schema: pa.Schema) -> pa.Table:
        """The rows of one event."""
        within = [self._read(file, schema) for file in self._by_first if file.first <= lsn.value <= file.last]
        return pa.concat_tables([schema.empty_table(), *within]).filter(pc.field(self.lsn) == lsn.value)

    def holding(self, lsns: Sequence[int]) -> list[str]:
        """The files that may hold an event at one of these LSNs, which are sorted."""
        at = [(file, bisect_left(lsns, file.first)) for file in self._by_first]
        return [file.path for file, least in at if least < len(lsns) and lsns[least] <= file.last]

    def rows_with_gaps(self, schema: pa.Schema) -> pa.Table:
        """The rows of ``cuts`` that tell gaps."""
        within = [self._read(file, schema) for file in self._by_first if file.gaps]
        return pa.concat_tables([schema.empty_table(), *within]).filter(pc.field("gap_count") > 0)

    def _events(self, files: Iterable[_File]) -> Iterator[Event]:
        wanted = pa.schema([pa.field(self.lsn, pa.int64()), pa.field(self.time, TIMESTAMP)])
        for file in files:
            rows = self._read(file, wanted)
            times = np.asarray(rows[self.time].cast(pa.int64())).tolist()
            for lsn, time_us in zip(rows[self.lsn].to_pylist(), times, strict=True):
                yield Event(Lsn(lsn), _EPOCH + timedelta(microseconds=time_us))

    def _read(self, file: _File, schema: pa.Schema) -> pa.Table:
        try:
            return parquet.read(self.store, self.table, file.path, schema)
        except FileNotFoundError as error:
            raise HistoryIncomplete(f"its file {file.path} is no longer in the store", subject=self.table) from error


def _bounded(path: str, stats: str, lsn: str, time: str) -> _File:
    told = json.loads(stats)
    least, greatest = told["minValues"], told["maxValues"]
    newest = str(greatest[time])
    # Other writers cut bounds off at the millisecond.
    late = 0 if len(newest.partition(".")[2].rstrip("Z")) >= 6 else _MILLISECOND_US
    newest_us = _micros(datetime.fromisoformat(newest).astimezone(UTC)) + late
    return _File(path, int(least[lsn]), int(greatest[lsn]), newest_us, int(greatest.get("gap_count") or 0))


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
