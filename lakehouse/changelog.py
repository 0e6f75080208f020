"""The table ``changelog``: every change of one source table, append-only. It is the truth; all else can be rebuilt.

Rows have the shape that ``cdc.batch`` gives, plus ``_commit_date``, the partition. The position that the rows reach is
a marker in the same Delta commit, so a batch that comes again after a crash is recognised by the table itself.

Properties: ``rireki.name``, ``rireki.key``, ``rireki.columns`` (the source's columns in order), and, once copied,
``rireki.firstCopy`` (the LSN from which the table's rows are whole) and ``rireki.lastCopy``. ``rireki.gapEnd`` is the
LSN of the copy that ended the newest gap: of changes inside the gap only a part could be had, so none is kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows of a transaction that hasn't come to its end: in files already, and in no version of the table yet."""

    columns: TableColumns
    files: tuple[LiveFile, ...]


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

    def stage(self, changes: Sequence[TableChanges], staged: Staged | None) -> Staged | None:
        """Write changes that aren't here yet into files, to be committed behind those in ``staged``.

        Raises SchemaChangeRefused before anything is written.
        """
        with self._lock:
            self._settle()
            rows, columns = self._new_rows(changes, staged)
            if columns is None or rows.num_rows == 0:
                return staged
            return Staged(columns, (*(staged.files if staged else ()), *self._written(rows)))

    def append(self, changes: Sequence[TableChanges], end_lsn: Lsn, staged: Staged | None = None) -> pa.Table | None:
        """Append a batch's changes of this table, those that aren't here yet, and what was staged for it, in one
        commit; durable when this returns.

        Returns the rows appended besides those staged, None if there was nothing. Raises SchemaChangeRefused before
        anything is written.
        """
        with self._lock:
            return self._append(changes, end_lsn, staged)

    def discard(self, staged: Staged) -> None:
        """Take back what was staged and won't be committed."""
        for file in staged.files:
            self._log.store.remove(f"{self._log.path}/{file.path}")

    def append_copy(self, copy: TableCopy, *, ends_gap: bool = False) -> pa.Table | None:
        """Append a copy's rows unless this copy, or a later one, is here already."""
        with self._lock:
            return self._append_copy(copy, ends_gap)

    def stretches(self, after: Lsn, to: Lsn, rows_each: int) -> Iterator[pa.Table]:
        """The changes with ``after < _commit_lsn <= to``, in order, about ``rows_each`` at a time; transactions are
        not kept together. Reads only files that hold such rows.
        """
        with self._lock:
            self._settle()
            columns, files = self.columns, list(self._log.state.files.values())
        if columns is None:
            raise CorruptCommit("its changelog isn't there", subject=self._log.subject)
        within = (pc.field("_commit_lsn") > after.value) & (pc.field("_commit_lsn") <= to.value)
        held: list[pa.Table] = []
        for rows in self._ordered([file for file in files if _overlaps(file, after, to)], columns.changes):
            held.append(rows.filter(within))
            if sum(part.num_rows for part in held) >= rows_each:
                yield pa.concat_tables(held)
                held = []
        if held:
            yield pa.concat_tables(held)

    def _ordered(self, files: Sequence[LiveFile], schema: pa.Schema) -> Iterator[pa.Table]:
        """The files' rows in order: a row group at a time, but for files that overlap one another in the order."""
        spans = sorted(((*_span(file), file.path) for file in files), key=lambda span: span[:2])
        read = partial(parquet.read_groups, self._log.store, self._log.path, schema=schema)
        start = 0
        while start < len(spans):
            end, last = start + 1, spans[start][1]
            while end < len(spans) and spans[end][0] <= last:
                end, last = end + 1, max(last, spans[end][1])
            if end == start + 1:
                yield from read(spans[start][2])
            else:  # a copy that came after changes beyond it
                parts = [group for _, _, path in spans[start:end] for group in read(path)]
                yield pa.concat_tables(parts).sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])
            start = end

    def _append(self, changes: Sequence[TableChanges], end_lsn: Lsn, staged: Staged | None) -> pa.Table | None:
        self._settle()
        rows, columns = self._new_rows(changes, staged)
        if columns is None or (rows.num_rows == 0 and staged is None):
            return None
        self._commit(rows, columns, [marker(self._stream, end_lsn.value)], {}, staged.files if staged else ())
        return rows

    def _new_rows(self, changes: Sequence[TableChanges], staged: Staged | None) -> tuple[pa.Table, TableColumns | None]:
        """The changes that aren't here yet, and the columns that the table has with them."""
        columns = staged.columns if staged else self.columns
        for change in changes:
            new = TableColumns.of(change.relation)
            columns = new if columns is None else columns.followed_by(new, self._log.subject, copied=False)
        if columns is None:
            return pa.table({}), None
        parts = [parquet.fit(change.rows, columns.changes) for change in changes]
        return self._not_here_yet(pa.concat_tables([columns.changes.empty_table(), *parts])), columns

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

    def _commit(
        self,
        rows: pa.Table,
        columns: TableColumns,
        markers: list[Action],
        properties: dict[str, str],
        staged: Sequence[LiveFile] = (),
    ) -> None:
        log = self._log
        properties = columns.properties | properties
        schema = columns.changes.append(pa.field(COMMIT_DATE, pa.date32()))
        shape: list[Action] = []
        if not log.state.exists:
            names = {"rireki.name": log.subject, "rireki.kind": "changelog"}
            shape = log.creation(schema, names | properties, partition_by=[COMMIT_DATE])
        elif columns != self.columns or properties.items() - log.state.properties.items():
            shape = [log.altered(schema, properties)]
        actions = [*shape, *markers, *(file.add() for file in (*staged, *self._written(rows)))]
        log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})
        self.columns = columns

    def _written(self, rows: pa.Table) -> list[LiveFile]:
        return [
            file
            for date, part in _by_date(rows)
            for file in parquet.write(self._log.store, self._log.path, part, {COMMIT_DATE: date}, own=_BOUNDED)
        ]

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
    if rows.num_rows == 0:
        return []
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


def _span(file: LiveFile) -> tuple[tuple[int, float], tuple[int, float]]:
    """The first and the last place, as (commit LSN, ordinal), at which the file may hold a row."""
    stats = json.loads(file.stats)
    least, greatest = stats["minValues"], stats["maxValues"]
    if least["_commit_lsn"] == greatest["_commit_lsn"]:
        return (least["_commit_lsn"], least["_ordinal"]), (greatest["_commit_lsn"], greatest["_ordinal"])
    return (least["_commit_lsn"], -math.inf), (greatest["_commit_lsn"], math.inf)


def _lsn(value: int | None) -> Lsn | None:
    return None if value is None else Lsn(value)
