"""The table ``transactions``: one row per source commit that is worth telling, with who and why.

It is committed last of all tables, also for a batch without transactions: its marker means that every changelog is
durable up to there, and that is the position which may be confirmed to PostgreSQL.
"""

from __future__ import annotations

import pyarrow.compute as pc

from cdc.batch import TRANSACTIONS_SCHEMA, Batch
from cdc.lsn import Lsn
from lakehouse import parquet
from lakehouse.log import DeltaLog, marker


class Transactions:
    """The writing side, for one stream."""

    def __init__(self, log: DeltaLog, stream: str) -> None:
        self._log = log
        self._application = f"rireki/{stream}"

    @property
    def durable_to(self) -> Lsn | None:
        """Every change of this stream with a commit LSN below this is in the lake."""
        position = self._log.marker(self._application)
        return None if position is None else Lsn(position)

    def append(self, batch: Batch) -> None:
        """Add the batch's transactions that aren't here yet; durable when this returns."""
        self._log.settle()
        reached = self.durable_to
        if reached is not None and reached >= batch.end_lsn:
            return
        rows = parquet.fit(batch.transactions, TRANSACTIONS_SCHEMA)
        if reached is not None:
            rows = rows.filter(pc.greater_equal(rows["commit_lsn"], reached.value))
        creation = [] if self._log.state.exists else self._log.creation(TRANSACTIONS_SCHEMA, {})
        files = parquet.write(self._log.store, self._log.path, rows)
        actions = [*creation, marker(self._application, batch.end_lsn.value), *(file.add() for file in files)]
        self._log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})
