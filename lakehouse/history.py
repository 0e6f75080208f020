"""The table ``history``: every interval in which a row was what it was, built from the changelog.

Columns are named as the changelog names them, and all that the table ever had are there: an interval keeps what it was
through later changes of columns. Which of them the source had when: `lakehouse.generations`.

It is a plain Delta table with one writer of its own (never the stream's process), and can be built anew from the
changelog at any time. Closed intervals are only ever appended, sorted by key. Rows that still are what they were
stand in files of their own, without an end; when they end, a deletion vector hides them there and the closed interval
is appended in the same commit. So each version is whole: as of any L up to its marker,

    WHERE _from_lsn <= L AND (_to_lsn > L OR _to_lsn IS NULL)

The marker ``rireki/history`` says how far it is built; property ``rireki.copies`` at which LSNs the table was copied:
a copy that finds a row as it was doesn't interrupt its interval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
from pyroaring import BitMap64

from cdc.lsn import Lsn
from lakehouse import parquet
from lakehouse.columns import TableColumns
from lakehouse.compaction import commit_moved
from lakehouse.errors import CorruptCommit
from lakehouse.generations import Generations
from lakehouse.hide import hidden_rows, hide
from lakehouse.intervals import (
    ENDS,
    Find,
    begun,
    ended,
    follow,
    history_schema,
    known_before,
    lasting,
    pieces,
    row_hashes,
)
from lakehouse.key_hash import Hashes, hash_rows
from lakehouse.key_index import KeyIndex, Longs
from lakehouse.log import DeltaLog, marker
from lakehouse.regroup import due, regroup
from lakehouse.table_state import Action, LiveFile

BUILT_TO: Final = "rireki/history"
GROUP_ROWS = 32_768  # one key's life is in one or two groups of each file


@dataclass(frozen=True, slots=True, order=True)
class Copied:
    """A copy of the table: where it stands, and the source's time then (UTC)."""

    lsn: Lsn
    time: datetime


class History:
    """The writing side of one table's history."""

    def __init__(self, log: DeltaLog, generations: Generations) -> None:
        self._log = log
        self._generations = generations
        self.schema = history_schema(generations.stored_columns(generations.newest))

    @property
    def built_to(self) -> Lsn | None:
        """Every interval is here as of any LSN up to this; None before the first build."""
        position = self._log.marker(BUILT_TO)
        return Lsn(position) if position else None

    @property
    def copies(self) -> tuple[Copied, ...]:
        """At which LSNs the table was copied, up to ``built_to``."""
        return copies_told(self._log.state.properties)

    @property
    def is_right_to(self) -> Lsn | None:
        """Where changes begin that have left the quarantine since it was built; None if there are none."""
        return self._generations.unknown_to(self._log.state.properties) if self._log.state.exists else None

    def forget(self) -> None:
        """Empty the table, to be built anew."""
        removed = [file.remove() for file in self._log.state.files.values()]
        self._commit(removed, Lsn(0), copies=())

    def reach(self, to: Lsn) -> None:
        """Nothing changed between ``built_to`` and ``to``."""
        if self.built_to != to:
            self._commit([], to)

    def compact(self) -> int:
        """Put the same intervals into fewer files, open and closed ones apart; how many went."""
        log, gone = self._log, 0
        key = (*self._generations.stored_columns(self._generations.newest).key, "_from_lsn")
        for files in (self._open_files(), [file for file in log.state.files.values() if not is_open(file)]):
            for group in due(files):
                schema = log.state.metadata["schemaString"]
                one = regroup(log, schema, log.state.schema, key, group, own=tuple(ENDS.names))
                commit_moved(log, [*(file.remove() for file in group), one.new.add()])
                gone += len(group)
        return gone

    def pass_over(self, copy: Lsn, truncate: pa.Table) -> None:
        """A copy, the next thing after ``built_to``, of which nothing is taken: a later one says it all."""
        self._commit([], copy, (*self.copies, Copied(copy, truncate["_committed_at"][0].as_py())))

    def apply(self, rows: pa.Table, to: Lsn, columns: TableColumns) -> None:
        """Take changes after ``built_to``, up to and including ``to``, in order, without copies; one commit.

        ``columns`` are those that the table has there, as stored. Raises RowMissing when a change names a row that
        isn't there.
        """
        hidden: dict[str, BitMap64] = {}
        ended_here: list[LiveFile] = []
        closed, opened = [self.schema.empty_table()], self.schema.empty_table()
        find = self._finder(hidden, columns)
        for truncate, changes in pieces(rows):
            if truncate is not None:
                ended_here += self._end_all(truncate, hidden, columns)
                closed.append(lasting(ended(opened, truncate)))
            within = follow(changes, columns, self._log.subject, find)
            closed.append(within.closed)
            opened = within.opened
        written = [*ended_here, *self._write(pa.concat_tables(closed), columns), *self._write(opened, columns)]
        self._commit_rows(hidden, written, to, self.copies)

    def copy(self, truncate: pa.Table, parts: Callable[[], Iterator[pa.Table]], at: Lsn, columns: TableColumns) -> None:
        """Take a copy made at ``at``, the next thing after ``built_to``; one commit.

        ``truncate`` is its first row, ``parts`` gives the others, in the same parts whenever it is called. Rows that
        the copy finds as they were go on; 16 bytes for each row, old and new, are held in memory.
        """
        old = [(file, rows) for file in self._open_files() if len(rows := self._alive(file, BitMap64()))]
        files: list[LiveFile] = []
        hidden: dict[str, BitMap64] = {}
        known_old, known_new = known_before(
            _stacked(row_hashes(self._read(file, columns.source).take(pa.array(rows)), columns) for file, rows in old),
            _stacked(row_hashes(part, columns) for part in parts()) if old else _stacked(()),
        )
        start = 0
        for file, rows in old:
            gone = rows[~known_old[start : start + len(rows)]]
            start += len(rows)
            if len(gone):
                files += self._write(ended(self._read(file, self.schema).take(pa.array(gone)), truncate), columns)
                hidden[file.path] = hidden_rows(self._log, file) | BitMap64(gone.tolist())
        start = 0
        for part in parts():
            is_new = ~known_new[start : start + part.num_rows] if old else np.ones(part.num_rows, dtype=np.bool_)
            start += part.num_rows
            files += self._write(begun(part.filter(pa.array(is_new)), columns), columns)
        self._commit_rows(hidden, files, at, (*self.copies, Copied(at, truncate["_committed_at"][0].as_py())))

    def _end_all(self, truncate: pa.Table, hidden: dict[str, BitMap64], columns: TableColumns) -> Iterator[LiveFile]:
        """Close what is still open in the table, a file at a time."""
        for file in self._open_files():
            rows = self._alive(file, hidden.get(file.path, BitMap64()))
            if len(rows):
                yield from self._write(ended(self._read(file, self.schema).take(pa.array(rows)), truncate), columns)
                hidden[file.path] = BitMap64(range(file.row_count))

    def _finder(self, hidden: dict[str, BitMap64], columns: TableColumns) -> Find:
        """Looks rows up in the table, file by file, and notes in ``hidden`` that they go."""
        compared = columns.key or columns.columns
        wanted = pa.schema([self.schema.field(name) for name in compared])

        def find(sought: Hashes, at_most: Longs) -> tuple[Longs, pa.Table]:
            high = np.sort(sought[:, 0])
            candidates: list[tuple[LiveFile, Longs, Hashes, pa.Table]] = []
            for file in self._open_files():
                rows = self._alive(file, hidden.get(file.path, BitMap64()))
                if not len(rows):
                    continue
                keys = self._read(file, wanted).take(pa.array(rows))
                hashes = hash_rows([keys[name] for name in compared], keys.num_rows)
                place = np.searchsorted(high, hashes[:, 0])
                maybe = high[np.minimum(place, len(high) - 1)] == hashes[:, 0]
                if maybe.any():
                    rows = rows[maybe]
                    candidates.append((file, rows, hashes[maybe], self._read(file, self.schema).take(pa.array(rows))))
            held = pa.concat_tables([self.schema.empty_table(), *(rows for *_, rows in candidates)])
            oldest_first = np.argsort(np.asarray(held["_from_lsn"]), kind="stable")
            index = KeyIndex()
            index.add(_stacked(hashes for _, _, hashes, _ in candidates)[oldest_first], 0, oldest_first)
            located = index.locate(sought, at_most)
            start = 0
            for file, rows, *_ in candidates:
                within = located.row[(located.row >= start) & (located.row < start + len(rows))]
                start += len(rows)
                before = hidden.get(file.path) or hidden_rows(self._log, file)
                hidden[file.path] = before | BitMap64(rows[within - start + len(rows)].tolist())
            return located.asked, held.take(pa.array(located.row))

        return find

    def _open_files(self) -> list[LiveFile]:
        return [file for file in self._log.state.files.values() if is_open(file)]

    def _alive(self, file: LiveFile, hidden: BitMap64) -> Longs:
        """Numbers of the file's rows that are in the table, and not in ``hidden``."""
        alive = np.ones(file.row_count, dtype=np.bool_)
        alive[np.fromiter(hidden_rows(self._log, file) | hidden, dtype=np.int64)] = False
        return np.flatnonzero(alive)

    def _read(self, file: LiveFile, schema: pa.Schema) -> pa.Table:
        try:
            return parquet.read(self._log.store, self._log.path, file.path, schema)
        except FileNotFoundError as error:
            raise CorruptCommit(
                f"file {file.path} of its history is gone",
                subject=self._log.subject,
                fix=f"rireki history {self._log.subject} --rebuild",
            ) from error

    def _write(self, rows: pa.Table, columns: TableColumns) -> list[LiveFile]:
        log, own = self._log, tuple(ENDS.names)
        return list(
            parquet.write(
                log.store,
                log.path,
                in_key_order(rows, columns),
                own=own,
                key=columns.key,
                group_rows=GROUP_ROWS,
                for_scans=True,
            )
        )

    def _commit_rows(
        self, hidden: Mapping[str, BitMap64], files: Sequence[LiveFile], to: Lsn, copies: tuple[Copied, ...]
    ) -> None:
        taken, _ = hide(self._log, hidden)
        self._commit([*taken, *(file.add() for file in files)], to, copies)

    def _commit(self, actions: Sequence[Action], to: Lsn, copies: tuple[Copied, ...] | None = None) -> None:
        log = self._log
        properties = self._generations.properties | _as_property(self.copies if copies is None else copies)
        shape: list[Action] = []
        if not log.state.exists:
            names = {"rireki.name": log.subject, "rireki.kind": "history"}
            shape = log.creation(self.schema, names | properties, vectors=True)
        elif properties.items() - log.state.properties.items() or log.state.schema.names != self.schema.names:
            shape = [log.altered(self.schema, properties)]
        info = {"operation": "MERGE", "operationParameters": {}, "rireki.cutLsn": str(to)}
        log.commit([*shape, marker(BUILT_TO, to.value), *actions], info, blind_append=False)


def copies_told(properties: Mapping[str, str]) -> tuple[Copied, ...]:
    """The copies that a history knows, oldest first, from its table's properties."""
    told = json.loads(properties.get("rireki.copies", "[]"))
    return tuple(Copied(Lsn.parse(lsn), datetime.fromisoformat(time)) for lsn, time in told)


def is_open(file: LiveFile) -> bool:
    """Whether the file holds intervals without an end; a file holds either kind."""
    return bool(json.loads(file.stats)["nullCount"]["_to_lsn"])


def in_key_order(rows: pa.Table, columns: TableColumns) -> pa.Table:
    """By key, then by time. What engines have no order for stays as it comes: by time."""
    by = [name for name in columns.key if not pa.types.is_nested(columns.changes.field(name).type)]
    return rows.sort_by([(name, "ascending") for name in (*by, "_from_lsn")])


def _as_property(copies: Sequence[Copied]) -> dict[str, str]:
    return {"rireki.copies": json.dumps([[str(copy.lsn), copy.time.isoformat()] for copy in copies])}


def _stacked(hashes: Iterable[Hashes]) -> Hashes:
    return np.concatenate([np.empty((0, 2), dtype=np.uint64), *hashes])
