"""One relation's changes, from tuple offsets to Arrow columns in the changelog's shape (cdc.batch).

A value that its column's lake type can't hold is null there, and stands as PostgreSQL prints it in a text column beside
it, which joins the relation when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from cdc import columns, scan
from cdc.batch import OPS, TIMESTAMP, changelog_schema
from cdc.decode import EPOCH_SHIFT_US
from cdc.errors import ProtocolViolation
from cdc.relation import Column, Relation, ReplicaIdentity, text_column
from cdc.types import LakeType

_OPS = pa.array(OPS, pa.string())
_COPY = OPS.index("copy")
_TEXT_OID = 25
_TEXT = ord("t")

_Texts = dict[int, pa.Array]  # by the column's number


class RelationDecoder:
    """Decodes the rows of one relation as it stood when the stream announced it.

    ``relation`` grows by a text column before the first rows that need it come out.
    """

    def __init__(self, relation: Relation, types: tuple[LakeType, ...]) -> None:
        self.relation = relation
        self._sent = relation.columns
        self._types = types
        self._texts: tuple[int, ...] = ()  # numbers of the columns that have a text column, in its order
        self.needs_text = tuple(kind.needs_text for kind in types)  # columns to be copied as PostgreSQL prints them
        self._schema = changelog_schema(relation)
        keyed = [i for i, column in enumerate(relation.columns) if column.in_key]
        self._key = np.array(keyed or range(len(relation.columns)), np.int64)

    def decode(
        self, buf: scan.Bytes, op: scan.Ints, new_at: scan.Ints, old_at: scan.Ints, where: scan.Ints
    ) -> pa.RecordBatch:
        """One row a change. ``where``: int64[n, 5] as ``scan.index_changes`` fills it."""
        n = len(op)
        is_update = op == scan.UPDATE
        off, length = self._split(buf, np.where(op == scan.DELETE, old_at, new_at))
        texts: _Texts = {}
        old_key: tuple[list[pa.Array], _Texts, np.ndarray] | None = None
        old_logged = is_update & (old_at >= 0)
        if old_logged.any():
            old_off, old_length = self._split(buf, np.where(is_update, old_at, -1))
            if self.relation.identity is ReplicaIdentity.FULL:
                # Under any other identity the old tuple's nulls mean "not part of it", and say nothing of the value.
                scan.fill_unchanged(off, length, old_off, old_length)
            changed = np.empty(n, np.bool_)
            if scan.key_changed(buf, off, length, old_off, old_length, self._key, changed):
                old_texts: _Texts = {}
                old_key = self._streamed(buf, old_off, old_length, self._key.tolist(), old_texts), old_texts, changed
        values = self._streamed(buf, off, length, range(len(self._sent)), texts)
        self._grow(texts.keys() | (old_key[1].keys() if old_key else set()))
        committed_at = where[:, 3] + EPOCH_SHIFT_US
        return pa.RecordBatch.from_arrays(
            [
                *values,
                *self._text_columns(texts, n),
                _OPS.take(pa.array(op)),
                pa.array(where[:, 0]),
                pa.array(where[:, 1]),
                pa.array(where[:, 2]),
                pa.array(committed_at, TIMESTAMP),
                pa.nulls(n, self._key_type) if old_key is None else self._old_key(*old_key),
                self._unchanged(length),
            ],
            schema=self._schema,
        )

    def copied(
        self, buf: scan.Bytes, off: scan.Ints, length: scan.Ints, snapshot_lsn: int, at_us: int, first: int
    ) -> pa.RecordBatch:
        """Copied rows; their ordinals count from ``first``, their time is ``at_us`` (µs since 1970)."""
        n = off.shape[1]
        texts: _Texts = {}
        values = [self._column(buf, off[i], length[i], i, self.needs_text[i], texts) for i in range(len(off))]
        self._grow(texts.keys())
        values += self._text_columns(texts, n)
        return _marked(self._schema, values, n, _COPY, snapshot_lsn, at_us, np.arange(first, first + n))

    @property
    def _key_type(self) -> pa.DataType:
        return self._schema.field("_key").type

    def _split(self, buf: scan.Bytes, tuple_at: scan.Ints) -> tuple[scan.Ints, scan.Ints]:
        shape = (len(self._sent), len(tuple_at))
        off, length = np.zeros(shape, np.int64), np.empty(shape, np.int64)
        wrong = scan.split_tuples(buf, tuple_at, off, length)
        if wrong >= 0:
            raise ProtocolViolation("a row with other columns than described", subject=str(self.relation.name))
        return off, length

    def _streamed(
        self, buf: scan.Bytes, off: scan.Ints, length: scan.Ints, numbers: Iterable[int], texts: _Texts
    ) -> list[pa.Array]:
        return [self._column(buf, off[i], length[i], i, _sent_as_text(buf, off[i], length[i]), texts) for i in numbers]

    def _column(
        self, buf: scan.Bytes, off: scan.Ints, length: scan.Ints, number: int, is_text: bool, texts: _Texts
    ) -> pa.Array:
        """One column's values; what they can't hold goes into ``texts``."""
        kind, subject = self._types[number], f"{self.relation.name}.{self._sent[number].name}"
        built = columns.build(buf, off, length, kind, subject, is_text=is_text)
        refused = built.refused
        if len(refused):
            told: list[str | None] = [None] * len(off)
            said = columns.texts(buf, off[refused], length[refused], kind, is_text=is_text)
            for row, text in zip(refused.tolist(), said, strict=True):
                told[row] = text
            texts[number] = pa.array(told, pa.string())
        return built.values

    def _grow(self, needed: Iterable[int]) -> None:
        new = sorted(set(needed) - set(self._texts))
        if new:
            self._texts += tuple(new)
            beside = (
                Column(text_column(c.name), _TEXT_OID, -1, pa.string(), c.in_key, is_text=True)
                for c in (self._sent[number] for number in self._texts)
            )
            self.relation = replace(self.relation, columns=(*self._sent, *beside))
            self._schema = changelog_schema(self.relation)

    def _text_columns(self, texts: _Texts, n: int) -> list[pa.Array]:
        return [texts[number] if number in texts else pa.nulls(n, pa.string()) for number in self._texts]

    def _old_key(self, parts: list[pa.Array], texts: _Texts, changed: np.ndarray) -> pa.Array:
        keyed = set(self._key.tolist())
        beside = [
            column
            for number, column in zip(self._texts, self._text_columns(texts, len(changed)), strict=True)
            if number in keyed
        ]
        return pa.StructArray.from_arrays([*parts, *beside], fields=list(self._key_type), mask=pa.array(~changed))

    def _unchanged(self, length: scan.Ints) -> pa.Array:
        left_out = (length == scan.UNCHANGED).T
        n = len(left_out)
        if not left_out.any():
            return pa.nulls(n, pa.list_(pa.string()))
        names = pa.array([column.name for column in self._sent], pa.string())
        counts = left_out.sum(axis=1)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        listed = names.take(pa.array(np.nonzero(left_out)[1]))
        return pa.ListArray.from_arrays(pa.array(offsets), listed, mask=pa.array(counts == 0))


def copy_marker(relation: Relation, snapshot_lsn: int, at_us: int) -> pa.Table:
    """The truncate, with ordinal -1, behind which copied rows stand."""
    values = [pa.nulls(1, column.lake_type) for column in relation.columns]
    schema = changelog_schema(relation)
    return pa.Table.from_batches([_marked(schema, values, 1, scan.TRUNCATE, snapshot_lsn, at_us, np.array([-1]))])


def widest(relation: Relation, others: Iterable[Relation]) -> Relation:
    """The relation with every text column that one of the others has."""
    needed = {column.name: column for other in others for column in other.columns if column.is_text}
    beside = (needed.get(text_column(column.name)) for column in relation.columns)
    return replace(relation, columns=(*relation.columns, *(column for column in beside if column is not None)))


def whole(relation: Relation, pieces: Iterable[pa.RecordBatch]) -> pa.Table:
    """Copied rows as one table; those from before a text column joined have nothing in it."""
    schema = changelog_schema(relation)
    fitted = [
        piece
        if piece.schema.equals(schema)
        else pa.RecordBatch.from_arrays(
            [
                piece[field.name].cast(field.type)
                if field.name in piece.schema.names
                else pa.nulls(len(piece), field.type)
                for field in schema
            ],
            schema=schema,
        )
        for piece in pieces
    ]
    return pa.Table.from_batches(fitted, schema)


def _marked(
    schema: pa.Schema, values: list[pa.Array], n: int, op: int, snapshot_lsn: int, at_us: int, ordinals: scan.Ints
) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            *values,
            _OPS.take(pa.array(np.full(n, op))),
            pa.array(np.full(n, snapshot_lsn)),
            pa.array(ordinals, pa.int64()),
            pa.nulls(n, pa.int64()),
            pa.array(np.full(n, at_us), TIMESTAMP),
            pa.nulls(n, schema.field("_key").type),
            pa.nulls(n, pa.list_(pa.string())),
        ],
        schema=schema,
    )


def _sent_as_text(buf: scan.Bytes, off: scan.Ints, length: scan.Ints) -> bool:
    """How the server sent a column: it chooses by the type, and says so before each value's length."""
    first = int(np.argmax(length >= 0))
    return bool(length[first] >= 0 and buf[off[first] - 5] == _TEXT)
