"""A source whose rows come as Arrow tables, for tables too large to write down row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from cdc.batch import TIMESTAMP, TRANSACTIONS_SCHEMA, Batch, TableChanges, TableCopy, changelog_schema
from cdc.lsn import Lsn
from cdc.relation import Relation
from lakehouse.cuts import Cut
from lakehouse.parquet import fit
from lakehouse.writer import LakeWriter

START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)


class BulkSource:
    """Every commit takes the next 4,096 bytes of the log and the next second."""

    def __init__(self, stream: str = "main") -> None:
        self.stream = stream
        self.position = 0x16_0000_0000
        self._from = Lsn(self.position)
        self._commits = 0
        self._tables: dict[str, tuple[Relation, list[pa.Table]]] = {}
        self._transactions: list[pa.Table] = []

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self._commits)

    def copy(self, relation: Relation, rows: pa.Table) -> TableCopy:
        """A copy under a snapshot taken now; ``rows`` has the source's columns."""
        self.position += 0x1000
        marker = self._changes(relation, rows.slice(0, 0).schema.empty_table(), "copy", 0)
        truncate = fit(pa.table({"_op": ["truncate"], "_ordinal": pa.array([-1], pa.int64())}), marker.schema)
        head = truncate.set_column(
            truncate.column_names.index("_commit_lsn"), "_commit_lsn", pa.array([self.position], pa.int64())
        ).set_column(truncate.column_names.index("_committed_at"), "_committed_at", pa.array([self.now], TIMESTAMP))
        body = self._changes(relation, rows, "copy", 0)
        return TableCopy(self.stream, relation, Lsn(self.position), self.now, pa.concat_tables([head, body]))

    def commit(self, relation: Relation, op: str, rows: pa.Table, *, transactions: int = 1) -> Lsn:
        """``rows`` (the source's columns, of which a delete needs the key) changed by ``op``, in that many
        transactions of about equal size; returns the last commit LSN."""
        bounds = np.linspace(0, rows.num_rows, transactions + 1).astype(np.int64)
        sizes = np.diff(bounds)
        lsns = self.position + 0x1000 * np.arange(1, transactions + 1)
        times = [self.now + timedelta(seconds=number) for number in range(1, transactions + 1)]
        changes = self._changes(relation, rows, op, 0)
        whole = {
            "_commit_lsn": pa.array(np.repeat(lsns, sizes)),
            "_ordinal": pa.array(np.arange(rows.num_rows) - np.repeat(bounds[:-1], sizes)),
            "_committed_at": pa.array(times, TIMESTAMP).take(pa.array(np.repeat(np.arange(transactions), sizes))),
        }
        for name, column in whole.items():
            changes = changes.set_column(changes.column_names.index(name), name, column)
        self._tables.setdefault(str(relation.name), (relation, []))[1].append(changes)
        told = {
            "commit_lsn": pa.array(lsns),
            "committed_at": pa.array(times, TIMESTAMP),
            "tables": pa.array([[str(relation.name)]] * transactions),
            "rows": pa.array(sizes),
        }
        self._transactions.append(fit(pa.table(told), TRANSACTIONS_SCHEMA))
        self.position, self._commits = int(lsns[-1]), self._commits + transactions
        return Lsn(self.position)

    def batch(self) -> Batch:
        """What was committed since the last batch."""
        self.position += 0x1000
        end = Lsn(self.position)
        tables = tuple(TableChanges(relation, pa.concat_tables(parts)) for relation, parts in self._tables.values())
        transactions = pa.concat_tables([TRANSACTIONS_SCHEMA.empty_table(), *self._transactions])
        batch = Batch(self.stream, self._from, end, self.now, tables, transactions)
        self._from, self._tables, self._transactions = end, {}, []
        return batch

    def cut(self, writer: LakeWriter) -> Cut:
        """Let ``writer`` append what was committed, and make a cut of it."""
        batch = self.batch()
        writer.append(batch)
        made = writer.advance(batch.end_lsn.before(), batch.source_time)
        assert made is not None
        return made

    def _changes(self, relation: Relation, rows: pa.Table, op: str, first_ordinal: int) -> pa.Table:
        count = rows.num_rows
        own = {
            "_op": pa.array([op], pa.string()).take(pa.array(np.zeros(count, dtype=np.int64))),
            "_commit_lsn": pa.array(np.full(count, self.position)),
            "_ordinal": pa.array(np.arange(first_ordinal, first_ordinal + count)),
            "_committed_at": pa.array([self.now], TIMESTAMP).take(pa.array(np.zeros(count, dtype=np.int64))),
        }
        for name, column in own.items():
            rows = rows.append_column(name, column)
        return fit(rows, changelog_schema(relation))
