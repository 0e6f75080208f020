"""The table ``changelog``: every change of one source table, append-only. It is the truth; all else can be rebuilt.

Rows have the shape that ``cdc.batch`` gives, plus ``_commit_date``, the partition. The position that the rows reach is
a marker in the same Delta commit, so a batch that comes again after a crash is recognised by the table itself.

Properties: ``rireki.name``, ``rireki.key``, ``rireki.columns`` (the source's columns in order), and, once copied,
``rireki.firstCopy`` (the LSN from which the table's rows are whole) and ``rireki.lastCopy``. ``rireki.gapEnd`` is the
LSN of the copy that ended the newest gap: of changes inside the gap only a part could be had, so none is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from cdc.batch import TableChanges, TableCopy
from cdc.lsn import Lsn
from lakehouse import parquet
from lakehouse.columns import COMMIT_DATE, TableColumns
from lakehouse.errors import CorruptCommit
from lakehouse.log import DeltaLog, marker
from lakehouse.table_state import Action, LiveFile

_BOUNDED = ("_commit_lsn", "_ordinal", "_committed_at")


class Changelog:
    """The writing side of one table's changelog. ``columns`` is None until the table exists."""

    def __init__(self, log: DeltaLog, stream: str) -> None:
        self._log = log
        self._stream = f"rireki/{stream}"
        self._copies = f"rireki/copy/{stream}"
        self._lock = Lock()  # one thread appends, another reads back
        self.columns: TableColumns | None = None
        self._reload()

    @property
    def durable_to(self) -> Lsn | None:
        """Every change with a commit LSN below this is in the table."""
        return _lsn(self._log.marker(self._stream))

    @property
    def copied_at(self) -> Lsn | None:
        """The newest copy's snapshot."""
        return _lsn(self._log.marker(self._copies))

    @property
    def first_copy(self) -> Lsn | None:
        text = self._log.state.properties.get("rireki.firstCopy")
        return None if text is None else Lsn.parse(text)

    @property
    def gap_end(self) -> Lsn | None:
        """The copy that ended the newest gap."""
        text = self._log.state.properties.get("rireki.gapEnd")
        return None if text is None else Lsn.parse(text)

    def append(self, changes: Sequence[TableChanges], end_lsn: Lsn) -> pa.Table | None:
        """Append a batch's changes of this table, those that aren't here yet; durable when this returns.

        Returns the rows appended, None if there were none. Raises SchemaChangeRefused before anything is written.
        """
        with self._lock:
            return self._append(changes, end_lsn)

    def append_copy(self, copy: TableCopy, *, ends_gap: bool = False) -> pa.Table | None:
        """Append a copy's rows unless this copy, or a later one, is here already."""
        with self._lock:
            return self._append_copy(copy, ends_gap)

    def rows(self, after: Lsn, to: Lsn) -> pa.Table:
        """The changes with ``after < _commit_lsn <= to``, in order. Reads only files that hold such rows."""
        with self._lock:
            self._settle()
            columns, files = self.columns, list(self._log.state.files.values())
        if columns is None:
            raise CorruptCommit("its changelog isn't there", subject=self._log.subject)
        within = (pc.field("_commit_lsn") > after.value) & (pc.field("_commit_lsn") <= to.value)
        parts = [
            parquet.read(self._log.store, self._log.path, file.path, columns.changes).filter(within)
            for file in files
            if _overlaps(file, after, to)
        ]
        rows = pa.concat_tables([columns.changes.empty_table(), *parts])
        return rows.sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])

    def _append(self, changes: Sequence[TableChanges], end_lsn: Lsn) -> pa.Table | None:
        self._settle()
        columns = self.columns
        for change in changes:
            new = TableColumns.of(change.relation)
            columns = new if columns is None else columns.followed_by(new, self._log.subject, copied=False)
        if columns is None:
            return None
        rows = pa.concat_tables([parquet.fit(change.rows, columns.changes) for change in changes])
        rows = self._not_here_yet(rows)
        if rows.num_rows == 0:
            return None
        self._commit(rows, columns, [marker(self._stream, end_lsn.value)], {})
        return rows

    def _append_copy(self, copy: TableCopy, ends_gap: bool) -> pa.Table | None:
        self._settle()
        if self.copied_at is not None and self.copied_at >= copy.snapshot_lsn:
            return None
        columns = TableColumns.of(copy.relation)
        if self.columns is not None:
            columns = self.columns.followed_by(columns, self._log.subject, copied=True)
        rows = parquet.fit(copy.rows, columns.changes)
        properties = {"rireki.lastCopy": str(copy.snapshot_lsn)}
        if self.first_copy is None:
            properties["rireki.firstCopy"] = str(copy.snapshot_lsn)
        if ends_gap:
            properties["rireki.gapEnd"] = str(copy.snapshot_lsn)
        self._commit(rows, columns, [marker(self._copies, copy.snapshot_lsn.value)], properties)
        return rows

    def _not_here_yet(self, rows: pa.Table) -> pa.Table:
        reached = self.durable_to or Lsn(0)
        for copy in (self.first_copy, self.gap_end):
            if copy is not None:
                reached = max(reached, Lsn(copy.value + 1))
        if not rows.num_rows or rows["_commit_lsn"][0].as_py() >= reached.value:  # they are in order
            return rows
        return rows.filter(pc.greater_equal(rows["_commit_lsn"], reached.value))

    def _commit(self, rows: pa.Table, columns: TableColumns, markers: list[Action], properties: dict[str, str]) -> None:
        log = self._log
        properties = columns.properties | properties
        schema = columns.changes.append(pa.field(COMMIT_DATE, pa.date32()))
        shape: list[Action] = []
        if not log.state.exists:
            names = {"rireki.name": log.subject, "rireki.kind": "changelog"}
            shape = log.creation(schema, names | properties, partition_by=[COMMIT_DATE])
        elif columns != self.columns or properties.items() - log.state.properties.items():
            shape = [log.altered(schema, properties)]
        files = [
            file
            for date, part in _by_date(rows)
            for file in parquet.write(log.store, log.path, part, {COMMIT_DATE: date}, own=_BOUNDED)
        ]
        actions = [*shape, *markers, *(file.add() for file in files)]
        log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})
        self.columns = columns

    def _settle(self) -> None:
        version = self._log.state.version
        self._log.settle()
        if self._log.state.version != version:
            self._reload()

    def _reload(self) -> None:
        state = self._log.state
        self.columns = TableColumns.stored(state.schema, state.properties) if state.exists else None


def _by_date(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    """The rows by the UTC date of their commit, order kept."""
    extremes = pc.min_max(rows["_committed_at"])
    first, last = (extremes[end].as_py().date() for end in ("min", "max"))
    if first == last:
        return [(first.isoformat(), rows)]
    dates = rows["_committed_at"].cast(pa.date32())
    days = sorted(pc.unique(dates).to_pylist())
    return [(day.isoformat(), rows.filter(pc.equal(dates, day))) for day in days]


def _overlaps(file: LiveFile, after: Lsn, to: Lsn) -> bool:
    stats = json.loads(file.stats)
    least, greatest = stats["minValues"]["_commit_lsn"], stats["maxValues"]["_commit_lsn"]
    return bool(least <= to.value and greatest > after.value)


def _lsn(value: int | None) -> Lsn | None:
    return None if value is None else Lsn(value)
