"""The table ``quarantine``: changes of tables that couldn't be taken as they were, raw, until they can be.

    table      string   "schema.table"
    reason     string   what stood against it
    announced  binary   pgoutput's Relation message
    then the columns of cdc.batch.RAW_SCHEMA

Changes that could be read and not written stand here as they were read: ``announced`` is empty, ``message`` an Arrow
stream of many of them, and the place that of the first.

Append-only. What is sent again after a crash may be there twice: (_commit_lsn, _ordinal) tells, and readers take one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from cdc.batch import RAW_SCHEMA, RawChanges, TableChanges
from cdc.lsn import Lsn
from cdc.relation import Column, Relation, ReplicaIdentity, TableName
from lakehouse import parquet
from lakehouse.log import DeltaLog

_PIECE_BYTES = 16 << 20  # of changes in one value
_RELATION, _TYPES = b"rireki.relation", b"rireki.types"

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
        self._append(pa.concat_tables([_told(one) for one in changes]))

    def append_decoded(self, changes: Sequence[TableChanges], reason: str) -> None:
        """Durable when this returns."""
        self._append(
            pa.concat_tables([_packed(one.relation, piece, reason) for one in changes for piece in _pieces(one)])
        )

    def _append(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        with self._lock:
            self._log.settle()
            creation = [] if self._log.state.exists else self._log.creation(QUARANTINE_SCHEMA, {})
            files = parquet.write(self._log.store, self._log.path, rows)
            actions = [*creation, *(file.add() for file in files)]
            self._log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})

    def held(self, table: TableName, after: Lsn) -> list[RawChanges | TableChanges]:
        """One table's changes with ``_commit_lsn > after``, in order, each once; a new shape begins a new one."""
        with self._lock:
            self._log.settle()
            files = list(self._log.state.files.values())
        parts = [parquet.read(self._log.store, self._log.path, file.path, QUARANTINE_SCHEMA) for file in files]
        rows = pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), *parts])
        rows = rows.filter((pc.field("table") == str(table)) & (pc.field("_commit_lsn") > after.value))
        rows = rows.sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])
        is_raw = pc.field("announced") != b""
        found: list[RawChanges | TableChanges] = [
            *_raw(table, rows.filter(is_raw)),
            *_decoded(rows.filter(~is_raw)["message"].to_pylist()),
        ]
        return sorted(found, key=lambda one: (one.rows["_commit_lsn"][0].as_py(), one.rows["_ordinal"][0].as_py()))


def _raw(table: TableName, rows: pa.Table) -> Iterator[RawChanges]:
    seen: dict[tuple[int, int], int] = {}
    places = zip(rows["_commit_lsn"].to_pylist(), rows["_ordinal"].to_pylist(), strict=True)
    for number, place in enumerate(places):
        seen.setdefault(place, number)
    rows = rows.take(pa.array(seen.values(), pa.int64()))
    first = 0
    for announced, run in groupby(rows["announced"].to_pylist()):
        count = len(list(run))
        reason = rows["reason"][first].as_py()
        yield RawChanges(table, announced, reason, rows.slice(first, count).select(RAW_SCHEMA.names))
        first += count


def _decoded(messages: Sequence[bytes]) -> Iterator[TableChanges]:
    seen = set[tuple[int, int]]()
    unpacked = (_unpacked(message) for message in messages)
    for relation, run in groupby(unpacked, key=lambda one: one.relation):
        parts = []
        for one in run:
            places = list(zip(one.rows["_commit_lsn"].to_pylist(), one.rows["_ordinal"].to_pylist(), strict=True))
            parts.append(one.rows.filter(pa.array([place not in seen for place in places], pa.bool_())))
            seen.update(places)
        rows = pa.concat_tables(parts)
        if rows.num_rows:
            yield TableChanges(relation, rows)


def _pieces(one: TableChanges) -> Iterator[pa.Table]:
    step = max(1, one.rows.num_rows * _PIECE_BYTES // max(1, one.rows.nbytes))
    return (one.rows.slice(start, step) for start in range(0, one.rows.num_rows, step))


def _packed(relation: Relation, rows: pa.Table, reason: str) -> pa.Table:
    """One row of QUARANTINE_SCHEMA."""
    columns = [[c.name, c.type_oid, c.type_modifier, c.in_key, c.is_text] for c in relation.columns]
    told = {
        "name": [relation.name.schema, relation.name.table],
        "oid": relation.oid,
        "identity": relation.identity.value,
        "columns": columns,
    }
    types = pa.schema([pa.field(column.name, column.lake_type) for column in relation.columns])
    rows = rows.replace_schema_metadata({_RELATION: json.dumps(told), _TYPES: types.serialize().to_pybytes()})
    target = pa.BufferOutputStream()
    with pa.ipc.new_stream(target, rows.schema) as stream:
        stream.write_table(rows)
    first = rows.slice(0, 1).select(["_commit_lsn", "_ordinal", "_xid", "_committed_at"]).to_pylist()[0]
    packed = {
        "table": str(relation.name),
        "reason": reason,
        "announced": b"",
        "message": target.getvalue().to_pybytes(),
    }
    return pa.Table.from_pylist([{**packed, **first, "new_at": -1, "old_at": -1}], schema=QUARANTINE_SCHEMA)


def _unpacked(message: bytes) -> TableChanges:
    rows = pa.ipc.open_stream(message).read_all()
    told = json.loads(rows.schema.metadata[_RELATION])
    types = pa.ipc.read_schema(pa.py_buffer(rows.schema.metadata[_TYPES]))
    columns = tuple(
        Column(name, oid, modifier, types.field(number).type, in_key, is_text)
        for number, (name, oid, modifier, in_key, is_text) in enumerate(told["columns"])
    )
    relation = Relation(TableName(*told["name"]), told["oid"], ReplicaIdentity(told["identity"]), columns)
    return TableChanges(relation, rows.replace_schema_metadata(None))


def _told(one: RawChanges) -> pa.Table:
    n = one.rows.num_rows
    told = [pa.array([value] * n, kind) for value, kind in ((str(one.name), pa.string()), (one.reason, pa.string()))]
    return pa.Table.from_arrays(
        [*told, pa.array([one.announced] * n, pa.binary()), *one.rows.columns], schema=QUARANTINE_SCHEMA
    )
