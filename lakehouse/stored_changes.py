"""A changelog read back in stretches, for whoever builds from it: in order, a bounded number of rows at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse import parquet
from lakehouse.errors import CorruptCommit, UnknownTable
from lakehouse.generations import Generations
from lakehouse.root import LakeRoot, table_path
from lakehouse.store import Store
from lakehouse.table_state import LiveFile, load

_COPIES = "rireki/copy/"
_PLACE = pa.schema([pa.field("_commit_lsn", pa.int64()), pa.field("_ordinal", pa.int64())])


@dataclass(frozen=True, slots=True)
class _Part:
    """A data file, and what its bounds say."""

    path: str
    rows: int
    first: int
    last: int
    least_ordinal: int


@dataclass(frozen=True, slots=True)
class StoredChanges:
    """One version of a changelog, in the shape in which it is stored. LSNs are those of commits; a copy's is its
    snapshot's.
    """

    subject: str
    generations: Generations
    copied_to: Lsn | None
    _store: Store
    _table: str
    _parts: tuple[_Part, ...]

    @classmethod
    def read(cls, root: LakeRoot, name: TableName) -> StoredChanges:
        """Raises: UnknownTable, and what ``table_state.load`` raises."""
        store, table = root.store(), table_path("changelog", name)
        state = load(store, table, str(name))
        if not state.exists:
            raise UnknownTable("the lake holds no such table", subject=str(name))
        copies = [version for application, version in state.markers.items() if application.startswith(_COPIES)]
        return cls(
            str(name),
            Generations.read(state.schema, state.properties),
            Lsn(max(copies)) if copies else None,
            store,
            table,
            tuple(sorted((_part(file) for file in state.files.values()), key=lambda part: (part.last, part.first))),
        )

    def copies(self, after: Lsn, to: Lsn) -> list[Lsn]:
        """Where whole copies stand with ``after < lsn <= to``, in order. A copy begins with ordinal -1."""
        within = [part for part in self._overlapping(after, to) if part.least_ordinal < 0]
        found = [self._read(part, _PLACE).filter(pc.field("_ordinal") == -1)["_commit_lsn"] for part in within]
        last = min(to, self.copied_to) if self.copied_to else Lsn(0)
        lsns = {lsn for column in found for lsn in column.to_pylist()}
        return [Lsn(lsn) for lsn in sorted(lsns) if after.value < lsn <= last.value]

    def stretches(self, after: Lsn, to: Lsn, most_rows: int) -> Iterator[tuple[Lsn, pa.Table]]:
        """Changes with ``after < _commit_lsn <= to`` in order: (up to where, the rows). Whole transactions, and no more
        than about ``most_rows`` at a time; the last stretch ends at ``to``, also where there is nothing.
        """
        start, count = after, 0
        for part in self._overlapping(after, to):
            if count and count + part.rows > most_rows and start.value < part.first - 1 < to.value:
                end = Lsn(part.first - 1)
                yield end, self.rows(start, end)
                start, count = end, 0
            count += part.rows
        yield to, self.rows(start, to)

    def rows(self, after: Lsn, to: Lsn) -> pa.Table:
        """All changes with ``after < _commit_lsn <= to``, in order."""
        within = (pc.field("_commit_lsn") > after.value) & (pc.field("_commit_lsn") <= to.value)
        schema = self.generations.stored
        parts = [self._read(part, schema).filter(within) for part in self._overlapping(after, to)]
        rows = pa.concat_tables([schema.empty_table(), *parts])
        lsn, ordinal = (np.asarray(rows[name]) for name in ("_commit_lsn", "_ordinal"))
        later = (lsn[1:] > lsn[:-1]) | ((lsn[1:] == lsn[:-1]) & (ordinal[1:] > ordinal[:-1]))
        return rows if later.all() else rows.take(pa.array(np.lexsort((ordinal, lsn))))

    def copied(self, at: Lsn) -> Iterator[pa.Table]:
        """A copy's rows, a file at a time, the truncate that begins it among them."""
        for part in self._overlapping(at.before(), at):
            yield self._read(part, self.generations.stored).filter(pc.field("_commit_lsn") == at.value)

    def _overlapping(self, after: Lsn, to: Lsn) -> list[_Part]:
        return [part for part in self._parts if part.first <= to.value and part.last > after.value]

    def _read(self, part: _Part, schema: pa.Schema) -> pa.Table:
        try:
            return parquet.read(self._store, self._table, part.path, schema)
        except FileNotFoundError as error:
            raise CorruptCommit(f"changelog file {part.path} is gone", subject=self.subject) from error


def _part(file: LiveFile) -> _Part:
    stats = json.loads(file.stats)
    least, greatest = stats["minValues"], stats["maxValues"]
    return _Part(file.path, file.row_count, least["_commit_lsn"], greatest["_commit_lsn"], least["_ordinal"])
