"""Writes down what a source would send: relations, changes, batches and copies in the shape of ``cdc.batch``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from cdc.batch import TRANSACTIONS_SCHEMA, Batch, TableChanges, TableCopy, changelog_schema
from cdc.lsn import Lsn
from cdc.relation import Column, Relation, ReplicaIdentity, TableName

START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)


def relation(name: str, columns: Mapping[str, pa.DataType], key: Sequence[str] = ()) -> Relation:
    identity = ReplicaIdentity.DEFAULT if key else ReplicaIdentity.FULL
    listed = tuple(Column(column, _oid(kind), -1, kind, column in key) for column, kind in columns.items())
    return Relation(TableName.parse(name), 16384, identity, listed)


def _oid(kind: pa.DataType) -> int:
    """Some number that tells types apart."""
    return sum(position * code for position, code in enumerate(str(kind).encode(), 1))


USERS = relation("public.users", {"id": pa.int64(), "name": pa.string(), "bio": pa.string()}, key=["id"])
EVENTS = relation("public.events", {"kind": pa.string(), "weight": pa.float64()})


@dataclass(frozen=True)
class Change:
    relation: Relation
    op: str
    values: Mapping[str, Any] = field(default_factory=dict)
    old: Mapping[str, Any] | None = None  # the old row's key, where the change names it
    unchanged: Sequence[str] = ()


def insert(relation: Relation, **values: Any) -> Change:
    return Change(relation, "insert", values)


def update(
    relation: Relation, *, old: Mapping[str, Any] | None = None, unchanged: Sequence[str] = (), **values: Any
) -> Change:
    return Change(relation, "update", values, old, unchanged)


def delete(relation: Relation, **key: Any) -> Change:
    return Change(relation, "delete", key)


def truncate(relation: Relation) -> Change:
    return Change(relation, "truncate")


class Source:
    """A source's log: every commit takes the next LSN and the next second. ``idle`` lets time pass besides."""

    def __init__(self, stream: str = "main") -> None:
        self.stream = stream
        self.position = 0x16_0000_1000
        self._from = Lsn(self.position)
        self._commits = 0
        self._idled = timedelta()
        self._pending: list[tuple[Change, dict[str, Any]]] = []
        self._transactions: list[dict[str, Any]] = []

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self._commits) + self._idled

    def idle(self, time: timedelta) -> None:
        self._idled += time

    def commit(self, *changes: Change, at: datetime | None = None, actor: str | None = None) -> Lsn:
        """One transaction; returns its commit LSN."""
        self.position += 0x100
        self._commits += 1
        lsn, committed_at = self.position, at or self.now
        for ordinal, change in enumerate(changes):
            self._pending.append((change, _row(change, lsn, ordinal, 700 + self._commits, committed_at)))
        self._transactions.append(
            {
                "commit_lsn": lsn,
                "xid": 700 + self._commits,
                "committed_at": committed_at,
                "actor": actor,
                "tables": sorted({str(change.relation.name) for change in changes}),
                "rows": len(changes),
            }
        )
        return Lsn(lsn)

    def batch(self) -> Batch:
        """What was committed since the last batch; an idle advance if nothing was."""
        self.position += 0x10
        end = Lsn(self.position)
        tables: list[TableChanges] = []
        for change, row in self._pending:
            if not tables or tables[-1].relation is not change.relation:
                same = [one for one in tables if one.relation is change.relation]
                if same:
                    tables.remove(same[0])
                tables.append(same[0] if same else TableChanges(change.relation, _rows(change.relation, [])))
            merged = pa.concat_tables([tables[-1].rows, _rows(change.relation, [row])])
            tables[-1] = TableChanges(change.relation, merged)
        transactions = pa.Table.from_pylist(self._transactions, schema=TRANSACTIONS_SCHEMA)
        batch = Batch(self.stream, self._from, end, self.now, tuple(tables), transactions)
        self._from, self._pending, self._transactions = end, [], []
        return batch

    def copy(self, relation: Relation, rows: Sequence[Mapping[str, Any]]) -> TableCopy:
        """A copy under a snapshot taken now."""
        self.position += 0x10
        changes = [Change(relation, "truncate"), *(Change(relation, "copy", row) for row in rows)]
        listed = [
            {**_row(change, self.position, ordinal - 1, None, self.now), "_xid": None}
            for ordinal, change in enumerate(changes)
        ]
        return TableCopy(self.stream, relation, Lsn(self.position), self.now, _rows(relation, listed))


def _row(change: Change, lsn: int, ordinal: int, xid: int | None, committed_at: datetime) -> dict[str, Any]:
    key = [c.name for c in change.relation.columns if c.in_key] or [c.name for c in change.relation.columns]
    return {
        **change.values,
        "_op": change.op,
        "_commit_lsn": lsn,
        "_ordinal": ordinal,
        "_xid": xid,
        "_committed_at": committed_at,
        "_key": None if change.old is None else {name: change.old.get(name) for name in key},
        "_unchanged": list(change.unchanged) or None,
    }


def _rows(relation: Relation, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=changelog_schema(relation))
