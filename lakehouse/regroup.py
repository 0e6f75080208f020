"""The same rows of `current`, or of `history`, in fewer files: small ones are merged, large ones rid of hidden rows.

Rows are read and written while cuts go on. A row that a cut hides meanwhile is hidden in the new file too: each old
file remembers where its rows went.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap64

from lakehouse import parquet
from lakehouse.columns import VALID_FROM
from lakehouse.compaction import by_size
from lakehouse.errors import CorruptCommit
from lakehouse.hide import hidden_rows
from lakehouse.key_index import Longs
from lakehouse.log import DeltaLog
from lakehouse.table_state import LiveFile

HIDDEN_SHARE: Final = 0.3  # of a large file, above which it is rewritten: reading skips rows that it has read
_GONE: Final = -1


@dataclass(frozen=True, slots=True)
class Regrouped:
    """``new`` holds the rows of ``old`` that weren't hidden by then. ``places``: by old path, where each row went, or
    -1; ``hidden``: by old path, which rows were hidden.
    """

    schema: str  # the table's, as its log has it
    old: tuple[LiveFile, ...]
    new: LiveFile
    places: Mapping[str, Longs]
    hidden: Mapping[str, BitMap64]

    def hidden_since(self, path: str, now: BitMap64 | None) -> BitMap64:
        """Rows of the new file that went since, when ``now`` is hidden in the old one; None: the old file is gone."""
        place = self.places[path]
        since = place if now is None else place[np.fromiter(now - self.hidden[path], dtype=np.int64)]
        return BitMap64(since[since != _GONE].tolist())


def due(files: Sequence[LiveFile]) -> Iterator[list[LiveFile]]:
    """Groups of live files, each to become one."""
    small: list[tuple[LiveFile, int]] = []
    for file in files:
        hidden = 0 if file.deletion_vector is None else int(file.deletion_vector["cardinality"])
        if hidden > HIDDEN_SHARE * file.row_count and file.row_count >= parquet.FILE_ROWS // 2:
            yield [file]
        else:
            small.append((file, file.row_count - hidden))
    yield from by_size(small)


def regroup(
    log: DeltaLog,
    schema: str,
    columns: pa.Schema,
    key: Sequence[str],
    group: Sequence[LiveFile],
    hidden: Mapping[str, BitMap64] | None = None,
    *,
    own: tuple[str, ...] = tuple(VALID_FROM.names),
) -> Regrouped:
    """Write the new file, in the order of ``key``. Touches nothing but objects, so no lock is needed.

    ``hidden``: by path, which rows to leave out; those that the files' vectors hide unless it is given. ``own``:
    columns that always get bounds.
    """
    parts: list[pa.Table] = []
    alive: list[Longs] = []
    hidden = hidden or {file.path: hidden_rows(log, file) for file in group}
    for file in group:
        stays = np.ones(file.row_count, dtype=np.bool_)
        stays[np.fromiter(hidden[file.path], dtype=np.int64)] = False
        alive.append(np.flatnonzero(stays))
        parts.append(_read(log, file, columns).take(pa.array(alive[-1])))
    rows = pa.concat_tables(parts)
    by = [(name, "ascending") for name in key if not pa.types.is_nested(columns.field(name).type)]
    order = np.asarray(pc.sort_indices(rows, by)) if by else np.arange(rows.num_rows)
    came = np.empty(rows.num_rows, dtype=np.int64)
    came[order] = np.arange(rows.num_rows)  # where each of `rows` stands in the new file
    places: dict[str, Longs] = {}
    start = 0
    for file, stay in zip(group, alive, strict=True):
        places[file.path] = np.full(file.row_count, _GONE, dtype=np.int64)
        places[file.path][stay] = came[start : start + len(stay)]
        start += len(stay)
    (new,) = parquet.write(
        log.store,
        log.path,
        rows.take(pa.array(order)),
        own=own,
        key=key,
        group_rows=parquet.group_rows(rows.num_rows),
        for_scans=True,
    )
    return Regrouped(schema, tuple(group), new, places, hidden)


def _read(log: DeltaLog, file: LiveFile, schema: pa.Schema) -> pa.Table:
    try:
        return parquet.read(log.store, log.path, file.path, schema)
    except FileNotFoundError as error:
        raise CorruptCommit(f"data file {file.path} is gone", subject=log.subject) from error
