"""The table ``quarantine``: changes of tables that couldn't be taken as they were, raw, until they can be.

    table      string   "schema.table"
    reason     string   what stood against it
    announced  binary   pgoutput's Relation message
    then the columns of cdc.batch.RAW_SCHEMA

Append-only. What is sent again after a crash may be there twice: (_commit_lsn, _ordinal) tells, and readers take one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from cdc.batch import RAW_SCHEMA, RawChanges
from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse import parquet
from lakehouse.log import DeltaLog

QUARANTINE_SCHEMA = pa.schema(
    [pa.field("table", pa.string()), pa.field("reason", pa.string()), pa.field("announced", pa.binary()), *RAW_SCHEMA]
)


class Quarantine:
    """The writing side."""

    def __init__(self, log: DeltaLog) -> None:
        self._log = log
        self._lock = Lock()

    def append(self, changes: Sequence[RawChanges]) -> None:
        """Durable when this returns."""
        rows = pa.concat_tables([_told(one) for one in changes])
        if not rows.num_rows:
            return
        with self._lock:
            self._log.settle()
            creation = [] if self._log.state.exists else self._log.creation(QUARANTINE_SCHEMA, {})
            files = parquet.write(self._log.store, self._log.path, rows)
            actions = [*creation, *(file.add() for file in files)]
            self._log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})

    def held(self, table: TableName, after: Lsn) -> Iterator[RawChanges]:
        """One table's changes with ``_commit_lsn > after``, in order, each once; a new shape begins a new one."""
        with self._lock:
            self._log.settle()
            files = list(self._log.state.files.values())
        parts = [parquet.read(self._log.store, self._log.path, file.path, QUARANTINE_SCHEMA) for file in files]
        rows = pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), *parts])
        rows = rows.filter((pc.field("table") == str(table)) & (pc.field("_commit_lsn") > after.value))
        seen: dict[tuple[int, int], int] = {}
        places = zip(rows["_commit_lsn"].to_pylist(), rows["_ordinal"].to_pylist(), strict=True)
        for number, place in enumerate(places):
            seen.setdefault(place, number)
        rows = rows.take(pa.array([seen[place] for place in sorted(seen)], pa.int64()))
        first = 0
        for announced, run in groupby(rows["announced"].to_pylist()):
            count = len(list(run))
            reason = rows["reason"][first].as_py()
            yield RawChanges(table, announced, reason, rows.slice(first, count).select(RAW_SCHEMA.names))
            first += count


def _told(one: RawChanges) -> pa.Table:
    n = one.rows.num_rows
    told = [pa.array([value] * n, kind) for value, kind in ((str(one.name), pa.string()), (one.reason, pa.string()))]
    return pa.Table.from_arrays(
        [*told, pa.array([one.announced] * n, pa.binary()), *one.rows.columns], schema=QUARANTINE_SCHEMA
    )
