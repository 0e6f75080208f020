"""One relation's changes, from tuple offsets to Arrow columns in the changelog's shape (cdc.batch)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cdc import columns, scan
from cdc.batch import OPS, TIMESTAMP, changelog_schema
from cdc.decode import EPOCH_SHIFT_US
from cdc.errors import ProtocolViolation
from cdc.relation import Relation, ReplicaIdentity
from cdc.types import LakeType

_OPS = pa.array(OPS, pa.string())
_COPY = OPS.index("copy")


class RelationDecoder:
    """Decodes the rows of one relation as it stood when the stream announced it."""

    def __init__(self, relation: Relation, types: tuple[LakeType, ...]) -> None:
        self.relation = relation
        self._types = types
        self._schema = changelog_schema(relation)
        keyed = [i for i, column in enumerate(relation.columns) if column.in_key]
        self._key = np.array(keyed or range(len(relation.columns)), np.int64)
        self._key_type: pa.DataType = self._schema.field("_key").type

    def decode(
        self, buf: scan.Bytes, op: scan.Ints, new_at: scan.Ints, old_at: scan.Ints, where: scan.Ints
    ) -> pa.RecordBatch:
        """One row a change. ``where``: int64[n, 5] as ``scan.index_changes`` fills it."""
        n = len(op)
        is_update = op == scan.UPDATE
        off, length = self._split(buf, np.where(op == scan.DELETE, old_at, new_at))
        key: pa.Array = pa.nulls(n, self._key_type)
        old_logged = is_update & (old_at >= 0)
        if old_logged.any():
            old_off, old_length = self._split(buf, np.where(is_update, old_at, -1))
            if self.relation.identity is ReplicaIdentity.FULL:
                # Under any other identity the old tuple's nulls mean "not part of it", and say nothing of the value.
                scan.fill_unchanged(off, length, old_off, old_length)
            changed = np.empty(n, np.bool_)
            if scan.key_changed(buf, off, length, old_off, old_length, self._key, changed):
                key = self._old_key(buf, old_off, old_length, changed)
        values = self._build(buf, off, length)
        committed_at = where[:, 3] + EPOCH_SHIFT_US
        return pa.RecordBatch.from_arrays(
            [
                *values,
                _OPS.take(pa.array(op)),
                pa.array(where[:, 0]),
                pa.array(where[:, 1]),
                pa.array(where[:, 2]),
                pa.array(committed_at, TIMESTAMP),
                key,
                self._unchanged(length),
            ],
            schema=self._schema,
        )

    def copied(
        self, buf: scan.Bytes, off: scan.Ints, length: scan.Ints, snapshot_lsn: int, at_us: int, first: int
    ) -> pa.RecordBatch:
        """Copied rows; their ordinals count from ``first``, their time is ``at_us`` (µs since 1970)."""
        n = off.shape[1]
        return self._marked(self._build(buf, off, length), n, _COPY, snapshot_lsn, at_us, np.arange(first, first + n))

    def copy_marker(self, snapshot_lsn: int, at_us: int) -> pa.RecordBatch:
        """The truncate, with ordinal -1, behind which copied rows stand."""
        values = [pa.nulls(1, column.lake_type) for column in self.relation.columns]
        return self._marked(values, 1, scan.TRUNCATE, snapshot_lsn, at_us, np.array([-1]))

    def _marked(
        self, values: list[pa.Array], n: int, op: int, snapshot_lsn: int, at_us: int, ordinals: scan.Ints
    ) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(
            [
                *values,
                _OPS.take(pa.array(np.full(n, op))),
                pa.array(np.full(n, snapshot_lsn)),
                pa.array(ordinals, pa.int64()),
                pa.nulls(n, pa.int64()),
                pa.array(np.full(n, at_us), TIMESTAMP),
                pa.nulls(n, self._key_type),
                pa.nulls(n, pa.list_(pa.string())),
            ],
            schema=self._schema,
        )

    def _split(self, buf: scan.Bytes, tuple_at: scan.Ints) -> tuple[scan.Ints, scan.Ints]:
        shape = (len(self.relation.columns), len(tuple_at))
        off, length = np.zeros(shape, np.int64), np.empty(shape, np.int64)
        wrong = scan.split_tuples(buf, tuple_at, off, length)
        if wrong >= 0:
            raise ProtocolViolation("a row with other columns than described", subject=str(self.relation.name))
        return off, length

    def _build(self, buf: scan.Bytes, off: scan.Ints, length: scan.Ints) -> list[pa.Array]:
        return [
            columns.build(buf, off[i], length[i], kind, f"{self.relation.name}.{self.relation.columns[i].name}")
            for i, kind in enumerate(self._types)
        ]

    def _old_key(self, buf: scan.Bytes, old_off: scan.Ints, old_length: scan.Ints, changed: np.ndarray) -> pa.Array:
        parts = [
            columns.build(buf, old_off[i], old_length[i], self._types[i], self.relation.columns[i].name)
            for i in self._key.tolist()
        ]
        return pa.StructArray.from_arrays(parts, fields=list(self._key_type), mask=pa.array(~changed))

    def _unchanged(self, length: scan.Ints) -> pa.Array:
        left_out = (length == scan.UNCHANGED).T
        n = len(left_out)
        if not left_out.any():
            return pa.nulls(n, pa.list_(pa.string()))
        names = pa.array([column.name for column in self.relation.columns], pa.string())
        counts = left_out.sum(axis=1)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        listed = names.take(pa.array(np.nonzero(left_out)[1]))
        return pa.ListArray.from_arrays(pa.array(offsets), listed, mask=pa.array(counts == 0))
