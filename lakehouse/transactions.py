"""The table ``transactions``: one row per source commit that is worth telling, with who and why.

It is committed last of all tables, also for a batch without transactions: its marker means that every changelog is
durable up to there, and that is the position which may be confirmed to PostgreSQL. A lake of an older version gets
the columns that it lacks with the next batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from cdc.batch import TRANSACTIONS_SCHEMA, Batch
from cdc.lsn import Lsn
from lakehouse import parquet
from lakehouse.compaction import compact_in_order
from lakehouse.log import DeltaLog, marker
from lakehouse.table_state import Action, LiveFile


class Transactions:
    """The writing side, for one stream."""

    def __init__(self, log: DeltaLog, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._application = _application(stream)
        self._lock = Lock()  # one thread appends, another merges files

    @property
    def durable_to(self) -> Lsn | None:
        """Every change of this stream with a commit LSN below this is in the lake."""
        return position_in(self._log.state.markers, self._stream)

    @property
    def streams(self) -> set[str]:
        """Every stream that has come to a position in this lake."""
        return {name.removeprefix("rireki/") for name in self._log.state.markers if name.startswith("rireki/")}

    @property
    def source(self) -> Mapping[str, int]:
        """What was last remembered of the stream's source; empty before that."""
        return source_in(self._log.state.markers, self._stream)

    def remember(self, source: Mapping[str, int]) -> None:
        """Keep which source this is, as markers beside the position; durable when this returns."""
        with self._lock:
            self._log.settle()
            if self.source == source:
                return
            creation = [] if self._log.state.exists else self._log.creation(TRANSACTIONS_SCHEMA, {})
            told = [marker(f"{_source_prefix(self._stream)}{name}", number) for name, number in source.items()]
            self._log.commit([*creation, *told], {"operation": "WRITE", "operationParameters": {"mode": "Append"}})

    def since(self, lsn: Lsn) -> pa.Table:
        """The rows with ``commit_lsn >= lsn``. Reads only files that hold such rows."""
        with self._lock:
            self._log.settle()
            parts = [
                parquet.read(self._log.store, self._log.path, file.path, TRANSACTIONS_SCHEMA)
                for file in self._log.state.files.values()
                if json.loads(file.stats)["maxValues"]["commit_lsn"] >= lsn.value
            ]
            rows = pa.concat_tables([TRANSACTIONS_SCHEMA.empty_table(), *parts])
            return rows.filter(pc.greater_equal(rows["commit_lsn"], lsn.value))

    def compact(self) -> int:
        """Merge small files; how many went."""
        return compact_in_order(self._log, self._lock, lambda: TRANSACTIONS_SCHEMA, ("commit_lsn",), _span)

    def append(self, batch: Batch) -> None:
        """Add the batch's transactions that aren't here yet; durable when this returns."""
        with self._lock:
            self._log.settle()
            reached = self.durable_to
            if reached is not None and reached >= batch.end_lsn:
                return
            rows = parquet.fit(batch.transactions, TRANSACTIONS_SCHEMA)
            if reached is not None:
                rows = rows.filter(pc.greater_equal(rows["commit_lsn"], reached.value))
            creation = self._widening() if self._log.state.exists else self._log.creation(TRANSACTIONS_SCHEMA, {})
            files = parquet.write(self._log.store, self._log.path, rows)
            actions = [*creation, marker(self._application, batch.end_lsn.value), *(file.add() for file in files)]
            self._log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})

    def _widening(self) -> list[Action]:
        known = self._log.state.schema
        new = [field for field in TRANSACTIONS_SCHEMA if field.name not in known.names]
        return [self._log.altered(pa.schema([*known, *new]), {})] if new else []


def position_in(markers: Mapping[str, int], stream: str) -> Lsn | None:
    """How far a stream has come, by the table's markers."""
    position = markers.get(_application(stream))
    return None if position is None else Lsn(position)


def source_in(markers: Mapping[str, int], stream: str) -> dict[str, int]:
    """What the table's markers remember of a stream's source."""
    prefix = _source_prefix(stream)
    return {name.removeprefix(prefix): number for name, number in markers.items() if name.startswith(prefix)}


def _span(file: LiveFile) -> tuple[int, int]:
    stats = json.loads(file.stats)
    return stats["minValues"]["commit_lsn"], stats["maxValues"]["commit_lsn"]


def _application(stream: str) -> str:
    return f"rireki/{stream}"


def _source_prefix(stream: str) -> str:
    return f"rireki.source/{stream}/"  # not below rireki/: readers take each name there for a stream
