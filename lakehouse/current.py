"""The table ``current``: one source table's rows at the newest cut, maintained by deletion vectors.

A cut that changes the table is one Delta commit: every touched data file is removed with its old vector and added with
its new one, and the new row versions are one new file. Rows carry ``_valid_from_lsn`` and ``_valid_from``: the commit
that gave them their present values.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyroaring import BitMap64

from cdc.lsn import Lsn
from lakehouse import deletion_vector, parquet
from lakehouse.columns import VALID_FROM, TableColumns
from lakehouse.errors import CorruptCommit
from lakehouse.fold import Fold, fold
from lakehouse.hide import hidden_rows, hide
from lakehouse.key_hash import hash_rows
from lakehouse.key_index import KeyIndex, Located, Longs
from lakehouse.log import DeltaLog, marker, now_ms
from lakehouse.table_state import Action, LiveFile
from lakehouse.unchanged import whole_rows

NONE_FOUND = Located(*(np.empty(0, dtype=np.int64) for _ in range(5)))


class Current:
    """The writing side of one table's state."""

    def __init__(self, log: DeltaLog, stream: str) -> None:
        self._log = log
        self._stream = f"rireki/{stream}"
        self._copies = f"rireki/copy/{stream}"
        self._index: KeyIndex | None = None
        self._index_of: tuple[int, tuple[str, ...]] = (-1, ())  # the table version and key that it describes
        self._paths: list[str] = []  # file numbers of the index
        self._hidden: dict[str, tuple[str | None, BitMap64]] = {}  # touched files' vectors, by path, with their ids

    @property
    def version(self) -> int:
        return self._log.state.version

    @property
    def at(self) -> Lsn | None:
        """The cut that last changed the table."""
        position = self._log.marker(self._stream)
        return None if position is None else Lsn(position)

    @property
    def copied_at(self) -> Lsn | None:
        """The newest copy that is in the table."""
        position = self._log.marker(self._copies)
        return None if position is None else Lsn(position)

    def settle(self) -> None:
        """Learn what became of a commit whose answer was lost."""
        self._log.settle()

    def advance(
        self, rows: pa.Table, columns: TableColumns, to: Lsn, source_time: datetime, copied_at: Lsn | None
    ) -> int:
        """Apply changes in order and commit them as the cut ``to``; returns the table's version.

        ``copied_at`` names the copy that is among the rows. Nothing is committed when nothing changes. Raises
        RowMissing when a change names a row that isn't there.
        """
        self._log.settle()
        log = self._log
        key = columns.key or columns.columns
        changes = fold(rows, columns.key, columns.columns, log.subject)
        found = NONE_FOUND
        if len(changes.sought) and not changes.cleared:
            found = self._known(key, columns).locate(changes.sought, changes.removals)
        counts = np.bincount(found.asked, minlength=len(changes.sought)).astype(np.int64)
        settled = changes.settle(counts, log.subject, key)
        kept = whole_rows(
            changes.rows, settled, columns.columns, lambda which, name: self._column(found, which, name, columns)
        )

        shape: list[Action] = []
        if not log.state.exists:
            names = {"rireki.name": log.subject, "rireki.kind": "current"}
            shape = log.creation(columns.current, names | columns.properties, vectors=True)
        elif columns.properties.items() - log.state.properties.items():
            shape = [log.altered(columns.current, columns.properties)]
        taken, hidden = self._taken(changes, found)
        files = list(parquet.write(log.store, log.path, _versions(kept, columns), own=tuple(VALID_FROM.names)))
        if not (shape or taken or files or copied_at):
            return log.state.version
        markers = [marker(self._stream, to.value)] + ([marker(self._copies, copied_at.value)] if copied_at else [])
        told = {"rireki.cutLsn": str(to), "rireki.sourceTime": source_time.astimezone(UTC).isoformat()}
        log.commit(
            [*shape, *markers, *taken, *(file.add() for file in files)],
            {"operation": "MERGE" if taken else "WRITE", "operationParameters": {}, **told},
            blind_append=not taken,
        )
        self._remember(taken, hidden)
        self._follow(key, kept, found, files, changes.cleared)
        return log.state.version

    def _taken(self, changes: Fold, found: Located) -> tuple[list[Action], dict[str, BitMap64]]:
        """What hides the rows that go, and the vectors as they are then. Writes the vector file if one is needed."""
        log = self._log
        if changes.cleared:
            now = now_ms()
            return [file.remove(now) for file in log.state.files.values()], {}
        hidden = {}
        for number in np.unique(found.file):
            file = log.state.files[self._paths[number]]
            hidden[file.path] = self._vector(file) | BitMap64(found.row[found.file == number].tolist())
        return hide(log, hidden)

    def _remember(self, taken: list[Action], hidden: Mapping[str, BitMap64]) -> None:
        for action in taken:
            path = action["remove" if "remove" in action else "add"]["path"]
            if path in hidden:
                vector = self._log.state.files[path].deletion_vector
                self._hidden[path] = (deletion_vector.unique_id(vector), hidden[path])
            else:
                self._hidden.pop(path, None)

    def _follow(
        self, key: tuple[str, ...], kept: pa.Table, found: Located, files: list[LiveFile], cleared: bool
    ) -> None:
        """Bring the index to the version just committed; let it go if it describes something else."""
        if cleared or self._index is None or self._index_of != (self._log.state.version - 1, key):
            self._index = None
            return
        self._index.forget(found)
        hashes = hash_rows([kept[name] for name in key], kept.num_rows)
        start = 0
        for file in files:
            self._index.add(hashes[start : start + file.row_count], len(self._paths), np.arange(file.row_count))
            self._paths.append(file.path)
            start += file.row_count
        self._index_of = (self._log.state.version, key)

    def _known(self, key: tuple[str, ...], columns: TableColumns) -> KeyIndex:
        """The index of the table's present version, rebuilt from the live files if need be."""
        if self._index is None or self._index_of != (self._log.state.version, key):
            log = self._log
            self._paths = list(log.state.files)
            wanted = pa.schema([columns.current.field(name) for name in (*key, "_valid_from_lsn")])
            hashes, files, rows, ages = [], [], [], []
            for number, path in enumerate(self._paths):
                part = self._read(path, wanted)
                alive = np.ones(part.num_rows, dtype=np.bool_)
                alive[np.fromiter(self._vector(log.state.files[path]), dtype=np.int64)] = False
                hashes.append(hash_rows([part[name] for name in key], part.num_rows)[alive])
                rows.append(np.flatnonzero(alive))
                files.append(np.full(len(rows[-1]), number, dtype=np.int64))
                ages.append(np.asarray(part["_valid_from_lsn"])[alive])
            index = KeyIndex()
            if self._paths:
                # Equal rows of one commit can't be told apart, so the commit is age enough.
                order = np.argsort(np.concatenate(ages), kind="stable")
                index.add(np.concatenate(hashes)[order], np.concatenate(files)[order], np.concatenate(rows)[order])
            self._index, self._index_of = index, (log.state.version, key)
        return self._index

    def _vector(self, file: LiveFile) -> BitMap64:
        if file.deletion_vector is None:
            return BitMap64()
        identity = deletion_vector.unique_id(file.deletion_vector)
        known = self._hidden.get(file.path)
        if known is None or known[0] != identity:
            known = (identity, hidden_rows(self._log, file))
            self._hidden[file.path] = known
        return known[1]

    def _column(self, found: Located, which: Longs, name: str, columns: TableColumns) -> pa.ChunkedArray:
        """One column of rows found in the table, in the order of ``which``."""
        wanted = pa.schema([columns.current.field(name)])
        files, rows = found.file[which], found.row[which]
        parts, positions = [], []
        for number in np.unique(files):
            chosen = np.flatnonzero(files == number)
            parts.append(self._read(self._paths[number], wanted)[name].take(pa.array(rows[chosen])))
            positions.append(chosen)
        values = pa.chunked_array([chunk for part in parts for chunk in part.chunks], wanted.field(0).type)
        return values.take(pa.array(np.argsort(np.concatenate(positions))))

    def _read(self, path: str, schema: pa.Schema) -> pa.Table:
        try:
            return parquet.read(self._log.store, self._log.path, path, schema)
        except FileNotFoundError as error:
            raise CorruptCommit(f"data file {path} is gone", subject=self._log.subject) from error


def _versions(kept: pa.Table, columns: TableColumns) -> pa.Table:
    """Rows in the shape of ``current``."""
    renamed: Mapping[str, str] = {"_commit_lsn": "_valid_from_lsn", "_committed_at": "_valid_from"}
    names = [renamed.get(name, name) for name in kept.column_names]
    return parquet.fit(kept.rename_columns(names), columns.current)
