"""The table ``current``: one source table's rows at the newest cut, maintained by deletion vectors.

A cut that changes the table is one Delta commit: every touched data file is removed with its old vector and added with
its new one, and the new row versions are one new file. Rows carry ``_valid_from_lsn`` and ``_valid_from``: the commit
that gave them their present values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from cdc.lsn import Lsn
from lakehouse import deletion_vector, parquet
from lakehouse.columns import VALID_FROM, TableColumns
from lakehouse.compaction import commit_moved
from lakehouse.draft import Draft
from lakehouse.errors import CorruptCommit
from lakehouse.fold import fold
from lakehouse.hide import hidden_rows, hide
from lakehouse.key_hash import Hashes, hash_rows
from lakehouse.key_index import KeyIndex, Located, Longs
from lakehouse.log import VECTORS, DeltaLog, marker, protocol
from lakehouse.regroup import Regrouped, due, regroup
from lakehouse.table_state import Action, LiveFile, schema_json
from lakehouse.unchanged import whole_rows

NONE_FOUND = Located(*(np.empty(0, dtype=np.int64) for _ in range(5)))


class Current:
    """The writing side of one table's state."""

    def __init__(
        self,
        log: DeltaLog,
        stream: str,
        *,
        copy_on_write: bool = False,
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._log = log
        self._copy_on_write = copy_on_write
        self._properties = {VECTORS: str(not copy_on_write).lower(), **properties}
        self._stream = f"rireki/{stream}"
        self._copies = f"rireki/copy/{stream}"
        self._index: KeyIndex | None = None
        self._index_of: tuple[int, tuple[str, ...]] = (-1, ())  # the table version and key that it describes
        self._paths: list[str] = []  # file numbers of the index
        self._hidden: dict[str, tuple[str | None, BitMap64]] = {}  # touched files' vectors, by path, with their ids
        self._shaped: TableColumns | None = None  # the columns that the table is known to have

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
        self, pieces: Iterable[pa.Table], columns: TableColumns, to: Lsn, source_time: datetime, copied_at: Lsn | None
    ) -> int:
        """Apply changes, which come in order and in pieces, and commit them as the cut ``to``; returns the table's
        version. At most two pieces are held at a time.

        ``copied_at`` names the copy that is among the rows. Nothing is committed when nothing changes. Raises
        RowMissing when a change names a row that isn't there.

        Columns that are new are null in rows that stay, and columns that went are gone from the table's newest version;
        a type changes only together with a copy, which leaves no file of before. Older versions keep theirs.
        """
        self._log.settle()
        key = columns.key or columns.columns
        if self._index_of != (self._log.state.version, key):
            self._index = None
        draft = Draft(self._log, self._vector)
        try:
            for rows in pieces:
                self._apply(rows, key, columns, draft)
            return self._commit(draft, key, columns, to, source_time, copied_at)
        except BaseException:
            self._index = None  # it may describe a version that nobody will see
            raise

    def compact(self, lock: AbstractContextManager[Any]) -> int:
        """Put the same rows into fewer files; how many went. ``lock`` keeps others from advancing; cuts go on while
        rows are read and written.
        """
        with lock:
            self._log.settle()
            state = self._log.state
            if not state.exists:
                return 0
            schema, columns = state.metadata["schemaString"], state.schema
            key = json.loads(state.properties["rireki.key"])
            groups = list(due(list(state.files.values())))
        gone = 0
        for group in groups:
            regrouped = regroup(self._log, schema, columns, key, group)
            with lock:
                self._log.settle()
                gone += len(group) if self._take_over(regrouped) else 0
        return gone

    def _take_over(self, regrouped: Regrouped) -> bool:
        """Commit the new file in the place of the old ones, less what was hidden meanwhile."""
        log, new = self._log, regrouped.new
        live = [found for file in regrouped.old if (found := log.state.files.get(file.path)) is not None]
        now = {file.path: self._vector(file) for file in live}
        hidden = BitMap64.union(*(regrouped.hidden_since(file.path, now.get(file.path)) for file in regrouped.old))
        is_other = log.state.metadata["schemaString"] != regrouped.schema
        if is_other or len(hidden) == new.row_count or (hidden and self._copy_on_write):
            log.store.remove(f"{log.path}/{new.path}")
            return False
        adding, vectors = hide(log, {new.path: hidden}, {new.path: new}) if hidden else ([new.add()], {})
        before = self._log.state.version
        commit_moved(log, [*(file.remove() for file in live), *adding])
        if self._index_of[0] == before:
            self._moved([regrouped])
            self._index_of = (log.state.version, self._index_of[1])
        for file in regrouped.old:
            self._hidden.pop(file.path, None)
        if vectors:
            kept = log.state.files[new.path].deletion_vector
            self._hidden[new.path] = (deletion_vector.unique_id(kept), vectors[new.path])
        return True

    def _apply(self, rows: pa.Table, key: tuple[str, ...], columns: TableColumns, draft: Draft) -> None:
        log = self._log
        changes = fold(rows, columns.key, columns.columns, log.subject)
        found = NONE_FOUND
        if changes.cleared:
            draft.clear()
            self._index = None
        elif len(changes.sought):
            found = self._known(key, columns, draft).locate(changes.sought, changes.removals)
        counts = np.bincount(found.asked, minlength=len(changes.sought)).astype(np.int64)
        settled = changes.settle(counts, log.subject, key)
        kept = whole_rows(
            changes.rows, settled, columns.columns, lambda which, name: self._column(found, which, name, columns)
        )
        for number in np.unique(found.file):
            draft.hide(self._paths[number], BitMap64(found.row[found.file == number].tolist()))
        kept = _in_key_order(kept, columns)
        files = list(
            parquet.write(
                log.store,
                log.path,
                _versions(kept, columns),
                own=tuple(VALID_FROM.names),
                key=columns.key,
                group_rows=parquet.group_rows(kept.num_rows),
                for_scans=True,
            )
        )
        draft.add(files)
        if self._index is not None:
            self._index.forget(found)
            self._add_to_index(hash_rows([kept[name] for name in key], kept.num_rows), files)

    def _commit(
        self,
        draft: Draft,
        key: tuple[str, ...],
        columns: TableColumns,
        to: Lsn,
        source_time: datetime,
        copied_at: Lsn | None,
    ) -> int:
        log = self._log
        shape: list[Action] = []
        if not log.state.exists:
            properties = {
                "rireki.name": log.subject,
                "rireki.kind": "current",
                **columns.properties,
                **self._properties,
            }
            shape = log.creation(columns.current, properties, vectors=not self._copy_on_write)
        elif not self._has(columns):
            shape = [log.altered(columns.current, {**columns.properties, **self._properties})]
            if log.state.has_vectors == self._copy_on_write:
                shape.append(protocol(columns.current, vectors=not self._copy_on_write))
        rewritten = self._rewritten(draft, columns) if self._copy_on_write else []
        filed = draft.actions()
        if not (shape or filed or copied_at):
            return log.state.version
        takes = any("remove" in action for action in filed)
        markers = [marker(self._stream, to.value)] + ([marker(self._copies, copied_at.value)] if copied_at else [])
        told = {"rireki.cutLsn": str(to), "rireki.sourceTime": source_time.astimezone(UTC).isoformat()}
        log.commit(
            [*shape, *markers, *filed],
            {"operation": "MERGE" if takes else "WRITE", "operationParameters": {}, **told},
            blind_append=not takes,
        )
        self._moved(rewritten)
        self._index_of = (log.state.version, key)
        self._shaped = columns
        self._remember(draft)
        return log.state.version

    def _rewritten(self, draft: Draft, columns: TableColumns) -> list[Regrouped]:
        """Copy-on-write: every file that lost rows is written again without them."""
        if self._log.state.has_vectors and not draft.cleared:  # until now the table had vectors
            for file in self._log.state.files.values():
                if file.deletion_vector is not None:
                    draft.hide(file.path, BitMap64())
        schema, done = schema_json(columns.current), []
        for path, hidden in list(draft.hidden.items()):
            file = draft.file(path)
            if len(hidden) < file.row_count:
                one = regroup(self._log, schema, columns.current, columns.key, [file], {path: hidden})
                draft.replace(path, one.new)
                done.append(one)
        return done

    def _moved(self, rewritten: Iterable[Regrouped]) -> None:
        """Tell the index where rows went."""
        if self._index is None:
            return
        numbers = {path: number for number, path in enumerate(self._paths)}
        for one in rewritten:
            self._index.moved({numbers[path]: places for path, places in one.places.items()}, to=len(self._paths))
            self._paths.append(one.new.path)

    def _has(self, columns: TableColumns) -> bool:
        if self._shaped is None or self._shaped != columns:
            same = schema_json(columns.current) == self._log.state.metadata["schemaString"]
            wanted = {**columns.properties, **self._properties}
            if not same or wanted.items() - self._log.state.properties.items():
                return False
            self._shaped = columns
        return True

    def _remember(self, draft: Draft) -> None:
        if draft.cleared:
            self._hidden.clear()
        for path, rows in draft.hidden.items():
            file = self._log.state.files.get(path)
            if file is None:
                self._hidden.pop(path, None)
            else:
                self._hidden[path] = (deletion_vector.unique_id(file.deletion_vector), rows)

    def _known(self, key: tuple[str, ...], columns: TableColumns, draft: Draft) -> KeyIndex:
        """The index of the draft as it stands, built from its files if need be."""
        if self._index is None:
            self._index, self._paths = KeyIndex(), []
            files = draft.files()
            if columns.key:
                # At a cut a key has one row at most, so those of the last version need no order.
                for file in files:
                    hashes, rows, _ = self._alive(file, key, columns, draft)
                    self._index.add(hashes, len(self._paths), rows)
                    self._paths.append(file.path)
            elif files:
                alive = [self._alive(file, key, columns, draft) for file in files]
                numbers = np.repeat(np.arange(len(files)), [len(rows) for _, rows, _ in alive])
                hashes, rows, ages = (np.concatenate(parts) for parts in zip(*alive, strict=True))
                # Equal rows of one commit can't be told apart, so the commit is age enough.
                order = np.argsort(ages, kind="stable")
                self._index.add(hashes[order], numbers[order], rows[order])
                self._paths = [file.path for file in files]
        return self._index

    def _alive(
        self, file: LiveFile, key: tuple[str, ...], columns: TableColumns, draft: Draft
    ) -> tuple[Hashes, Longs, Longs]:
        """Of the rows that are in the table: key, number in the file, commit."""
        wanted = pa.schema([columns.current.field(name) for name in (*key, "_valid_from_lsn")])
        part = self._read(file.path, wanted)
        alive = np.ones(part.num_rows, dtype=np.bool_)
        alive[np.fromiter(draft.hidden_in(file), dtype=np.int64)] = False
        hashes = hash_rows([part[name] for name in key], part.num_rows)
        return hashes[alive], np.flatnonzero(alive), np.asarray(part["_valid_from_lsn"])[alive]

    def _add_to_index(self, hashes: Hashes, files: list[LiveFile]) -> None:
        assert self._index is not None
        start = 0
        for file in files:
            self._index.add(hashes[start : start + file.row_count], len(self._paths), np.arange(file.row_count))
            self._paths.append(file.path)
            start += file.row_count

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


def _in_key_order(kept: pa.Table, columns: TableColumns) -> pa.Table:
    """By key, so that the bounds of files and row groups tell where a key can't be."""
    by = [(name, "ascending") for name in columns.key if not pa.types.is_nested(kept.schema.field(name).type)]
    if not by or kept.num_rows == 0:
        return kept
    order = pc.sort_indices(kept, by)
    return (
        kept if pc.all(pc.equal(order, pa.array(np.arange(len(order), dtype=np.uint64)))).as_py() else kept.take(order)
    )


def _versions(kept: pa.Table, columns: TableColumns) -> pa.Table:
    """Rows in the shape of ``current``."""
    renamed: Mapping[str, str] = {"_commit_lsn": "_valid_from_lsn", "_committed_at": "_valid_from"}
    names = [renamed.get(name, name) for name in kept.column_names]
    return parquet.fit(kept.rename_columns(names), columns.current)
