"""One relation's changes, from tuple offsets to Arrow columns in the changelog's shape (cdc.batch)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cdc import columns, scan
from cdc.batch import OPS, TIMESTAMP, changelog_schema
from cdc.decode import EPOCH_SHIFT_US
from cdc.errors import ProtocolViolation, ValueNotRepresentable
from cdc.relation import Relation, ReplicaIdentity
from cdc.types import LakeType

_OPS = pa.array(OPS, pa.string())
_COPY = OPS.index("copy")
_TEXT = ord("t")


class RelationDecoder:
    """Decodes the rows of one relation as it stood when the stream announced it."""

    def __init__(self, relation: Relation, types: tuple[LakeType, ...]) -> None:
        self.relation = relation
        self._types = types
        self.needs_text = tuple(kind.needs_text for kind in types)  # columns to be copied as PostgreSQL prints them
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
        values = self._streamed(buf, off, length)
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
        values = [self._column(buf, off[i], length[i], i, self.needs_text[i]) for i in range(len(off))]
        return self._marked(values, n, _COPY, snapshot_lsn, at_us, np.arange(first, first + n))

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

    def _streamed(self, buf: scan.Bytes, off: scan.Ints, length: scan.Ints) -> list[pa.Array]:
        return [
            self._column(buf, off[i], length[i], i, _sent_as_text(buf, off[i], length[i]))
            for i in range(len(self._types))
        ]

    def _column(self, buf: scan.Bytes, off: scan.Ints, length: scan.Ints, number: int, is_text: bool) -> pa.Array:
        kind, subject = self._types[number], f"{self.relation.name}.{self.relation.columns[number].name}"
        built = columns.build(buf, off, length, kind, subject, is_text=is_text)
        if len(built.refused):
            (text,) = columns.texts(buf, off[built.refused[:1]], length[built.refused[:1]], kind, is_text=is_text)
            raise ValueNotRepresentable(f"holds {text}, which its lake type can't", subject=subject)
        return built.values

    def _old_key(self, buf: scan.Bytes, old_off: scan.Ints, old_length: scan.Ints, changed: np.ndarray) -> pa.Array:
        parts = [
            self._column(buf, old_off[i], old_length[i], i, _sent_as_text(buf, old_off[i], old_length[i]))
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


def _sent_as_text(buf: scan.Bytes, off: scan.Ints, length: scan.Ints) -> bool:
    """How the server sent a column: it chooses by the type, and says so before each value's length."""
    first = int(np.argmax(length >= 0))
    return bool(length[first] >= 0 and buf[off[first] - 5] == _TEXT)
