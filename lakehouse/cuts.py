"""The table ``cuts``: which version of every table belongs to which source position, and what the lake can't vouch for.

    cut_lsn       long        every transaction with a commit LSN <= it is in these versions, and no other
    source_time   timestamp   UTC; the source's clock at that position
    written_at    timestamp   UTC; our clock
    versions      map<string, long>   "schema.table" -> version of its `current` table at this cut
    gaps          list<struct<table string, from_lsn long, to_lsn long, reason string>>   told with this row
    gap_count     long        how many; its bounds let readers skip the files of the many cuts that tell none

Rows are appended in the order of ``cut_lsn``. A gap that becomes known between two cuts is told at once: then a row
repeats the last cut, and the gaps of all rows count. A gap told again with the same table and ``from_lsn`` replaces
what was told before, so an open gap is closed by telling its end.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from cdc.batch import TIMESTAMP
from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse import parquet
from lakehouse.compaction import compact_in_order
from lakehouse.log import DeltaLog, marker
from lakehouse.table_state import LiveFile

_GAP = pa.struct(
    [
        pa.field("table", pa.string()),
        pa.field("from_lsn", pa.int64()),
        pa.field("to_lsn", pa.int64()),
        pa.field("reason", pa.string()),
    ]
)
CUTS_SCHEMA = pa.schema(
    [
        pa.field("cut_lsn", pa.int64()),
        pa.field("source_time", TIMESTAMP),
        pa.field("written_at", TIMESTAMP),
        pa.field("versions", pa.map_(pa.string(), pa.int64())),
        pa.field("gaps", pa.list_(_GAP)),
        pa.field("gap_count", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Commits after ``from_lsn``, up to and including ``to_lsn``, that the lake may lack.

    As of ``from_lsn`` and before, and from ``to_lsn`` on (where a copy has said every row anew), answers are whole.
    ``table`` None means every table; ``to_lsn`` None means that it is still open.
    """

    table: TableName | None
    from_lsn: Lsn
    to_lsn: Lsn | None
    reason: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A position at which every table of the lake has been applied. Times are UTC."""

    cut_lsn: Lsn
    source_time: datetime
    written_at: datetime
    versions: Mapping[TableName, int] = field(hash=False)
    gaps: tuple[Gap, ...] = ()  # only those told with this row


def cuts_to_arrow(cuts: Iterable[Cut]) -> pa.Table:
    """Shape: CUTS_SCHEMA, one row per cut, in the given order."""
    rows = [
        {
            "cut_lsn": cut.cut_lsn.value,
            "source_time": cut.source_time,
            "written_at": cut.written_at,
            "versions": [(str(name), version) for name, version in sorted(cut.versions.items())],
            "gaps": [
                {
                    "table": None if gap.table is None else str(gap.table),
                    "from_lsn": gap.from_lsn.value,
                    "to_lsn": None if gap.to_lsn is None else gap.to_lsn.value,
                    "reason": gap.reason,
                }
                for gap in cut.gaps
            ],
            "gap_count": len(cut.gaps),
        }
        for cut in cuts
    ]
    return pa.Table.from_pylist(rows, schema=CUTS_SCHEMA)


def cuts_from_arrow(rows: pa.Table) -> list[Cut]:
    """The reverse, for any subset of rows."""
    return [
        Cut(
            Lsn(row["cut_lsn"]),
            row["source_time"],
            row["written_at"],
            {TableName.parse(name): version for name, version in row["versions"]},
            tuple(
                Gap(
                    None if gap["table"] is None else TableName.parse(gap["table"]),
                    Lsn(gap["from_lsn"]),
                    None if gap["to_lsn"] is None else Lsn(gap["to_lsn"]),
                    gap["reason"],
                )
                for gap in row["gaps"] or ()
            ),
        )
        for row in rows.to_pylist()
    ]


def newest_gaps(cuts: Iterable[Cut]) -> tuple[Gap, ...]:
    """All gaps of these cuts, oldest first; one told again replaces what was told before."""
    rows = sorted(cuts, key=lambda cut: (cut.cut_lsn, cut.written_at))
    newest = {(gap.table, gap.from_lsn): gap for cut in rows for gap in cut.gaps}
    return tuple(sorted(newest.values(), key=lambda gap: gap.from_lsn))


class Cuts:
    """The writing side of the table. ``last`` is the newest cut, None before the first; ``told`` are the gaps as this
    process last knew of them.
    """

    def __init__(self, log: DeltaLog, stream: str) -> None:
        self._log = log
        self._application = f"rireki/cut/{stream}"
        self.last = self._newest()
        self._gaps = {(gap.table, gap.from_lsn): gap for gap in newest_gaps(self._telling())}

    @property
    def told(self) -> Collection[Gap]:
        return self._gaps.values()

    @property
    def at(self) -> Lsn | None:
        """How far this stream's cuts have come."""
        position = self._log.marker(self._application)
        return None if position is None else Lsn(position)

    def open_gaps(self) -> tuple[Gap, ...]:
        """Gaps whose end hasn't been told, by any stream."""
        self._log.settle()
        return tuple(gap for gap in newest_gaps(self._telling()) if gap.to_lsn is None)

    def compact(self, lock: AbstractContextManager[Any]) -> int:
        """Merge small files; how many went. ``lock`` keeps others from appending."""
        return compact_in_order(self._log, lock, lambda: CUTS_SCHEMA, ("cut_lsn", "written_at"), _span)

    def append(self, cut: Cut) -> None:
        """Add a row; durable when this returns."""
        self._log.settle()
        creation = [] if self._log.state.exists else self._log.creation(CUTS_SCHEMA, {})
        files = parquet.write(self._log.store, self._log.path, cuts_to_arrow([cut]))
        actions = [*creation, marker(self._application, cut.cut_lsn.value), *(file.add() for file in files)]
        self._log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})
        self.last = cut
        self._gaps |= {(gap.table, gap.from_lsn): gap for gap in cut.gaps}

    def _telling(self) -> list[Cut]:
        """The cuts that tell a gap, and some that don't; reads only files that hold such."""
        return [
            cut
            for file in self._log.state.files.values()
            if json.loads(file.stats)["maxValues"]["gap_count"]
            for cut in cuts_from_arrow(parquet.read(self._log.store, self._log.path, file.path, CUTS_SCHEMA))
        ]

    def _newest(self) -> Cut | None:
        newest = max(self._log.state.files.values(), key=lambda file: _span(file)[1], default=None)
        if newest is None:
            return None
        rows = parquet.read(self._log.store, self._log.path, newest.path, CUTS_SCHEMA)
        return max(cuts_from_arrow(rows), key=lambda cut: (cut.cut_lsn, cut.written_at))


def _span(file: LiveFile) -> tuple[tuple[int, str], tuple[int, str]]:
    stats = json.loads(file.stats)
    least, greatest = ((bounds["cut_lsn"], bounds["written_at"]) for bounds in (stats["minValues"], stats["maxValues"]))
    return least, greatest
