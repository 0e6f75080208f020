"""Changes that are in the changelog but in no cut yet, kept in memory so that applying them reads nothing back.

Memory is bounded: when all tables' changes together outgrow the budget, the largest are let go, and come from the
changelog when they are needed. The same happens after a restart, and whenever it is doubtful what the changelog holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from cdc.lsn import Lsn
from cdc.relation import TableName

BUDGET_BYTES = 256 << 20  # several cuts' worth of changes at full speed, next to the batches that capture itself holds


@dataclass(slots=True)
class _Pending:
    beyond: Lsn  # changes with a commit LSN above this are all here; the others are in the changelog only
    rows: list[pa.Table] = field(default_factory=list)
    bytes: int = 0


class Tails:
    """The tail of every table. Safe for one thread that adds and another that takes."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._tables: dict[TableName, _Pending] = {}
        self._lock = Lock()

    def open(self, table: TableName, reaches: Lsn) -> None:
        """A table whose changes up to ``reaches`` lie in its changelog."""
        with self._lock:
            self._tables.setdefault(table, _Pending(reaches))

    def add(self, table: TableName, rows: pa.Table) -> None:
        """Changes that have just become durable."""
        with self._lock:
            pending = self._tables[table]
            pending.rows.append(rows)
            pending.bytes += rows.nbytes
            if sum(one.bytes for one in self._tables.values()) > self._budget_bytes:
                largest = max(self._tables.values(), key=lambda one: one.bytes)
                _let_go(largest, largest.beyond)

    @property
    def is_half_full(self) -> bool:
        """Adding as much again may let changes go."""
        with self._lock:
            return 2 * sum(one.bytes for one in self._tables.values()) >= self._budget_bytes

    def doubt(self, table: TableName, reaches: Lsn) -> None:
        """It isn't known which changes up to ``reaches`` are durable: the changelog will say."""
        with self._lock:
            _let_go(self._tables[table], reaches)

    def take(self, table: TableName, after: Lsn, to: Lsn) -> tuple[tuple[Lsn, Lsn] | None, list[pa.Table]]:
        """Where the changes with ``after < _commit_lsn <= to`` are: first those in the changelog only, as the
        stretch to read there, then those that are here, in no order.
        """
        with self._lock:
            pending = self._tables[table]
            beyond, kept = pending.beyond, list(pending.rows)
        stored = (after, min(beyond, to)) if after < beyond else None
        held = [_between(rows, max(after, beyond).value, to.value) for rows in kept]
        return stored, [part for part in held if part.num_rows]

    def applied(self, table: TableName, to: Lsn) -> None:
        """Everything up to ``to`` is in ``current``."""
        with self._lock:
            pending = self._tables[table]
            above = [_between(rows, to.value, 2**63 - 1) for rows in pending.rows]
            pending.rows = [rows for rows in above if rows.num_rows]
            pending.bytes = sum(rows.nbytes for rows in pending.rows)
            pending.beyond = max(pending.beyond, to)


def _between(rows: pa.Table, above: int, to: int) -> pa.Table:
    """The rows with ``above < _commit_lsn <= to``: as they are where all or none lie there, which is usual."""
    extremes = pc.min_max(rows["_commit_lsn"])
    least, greatest = extremes["min"].as_py(), extremes["max"].as_py()
    if least is None or (above < least and greatest <= to):
        return rows
    if greatest <= above or least > to:
        return rows.slice(0, 0)
    return rows.filter((pc.field("_commit_lsn") > above) & (pc.field("_commit_lsn") <= to))


def _let_go(pending: _Pending, reaches: Lsn) -> None:
    """Leave it to the changelog what there is up to ``reaches``, and whatever was here."""
    pending.beyond = max(pending.beyond, reaches, *(_highest(rows) for rows in pending.rows))
    pending.rows.clear()
    pending.bytes = 0


def _highest(rows: pa.Table) -> Lsn:
    return Lsn(pc.max(rows["_commit_lsn"]).as_py() or 0)
