"""Changes of a table that can't be taken as it is, kept as they were sent: into the quarantine, and out of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cdc import scan
from cdc.batch import OPS, RAW_SCHEMA, TIMESTAMP, RawChanges
from cdc.changes import RelationDecoder
from cdc.decode import EPOCH_SHIFT_US
from cdc.protocol import RelationMessage

_OPS = pa.array(OPS, pa.string())


class RawDecoder:
    """Stands in for a relation's decoder. ``announced`` is the payload of its Relation message."""

    def __init__(self, message: RelationMessage, announced: bytes, reason: str) -> None:
        self.name, self.announced, self.reason = message.name, announced, reason

    def decode(
        self,
        buf: scan.Bytes,
        starts: scan.Ints,
        op: scan.Ints,
        new_at: scan.Ints,
        old_at: scan.Ints,
        where: scan.Ints,
    ) -> pa.RecordBatch:
        """One row a change, in the shape RAW_SCHEMA; tuples are counted from the beginning of their message."""
        tuple_at = np.maximum(new_at, old_at)
        start = starts[np.maximum(np.searchsorted(starts, tuple_at, side="right") - 1, 0)]
        bodies = [
            buf[at : at + int.from_bytes(buf[at - 4 : at].tobytes(), "little")].tobytes() if has_tuple else b""
            for at, has_tuple in zip(start.tolist(), (tuple_at >= 0).tolist(), strict=True)
        ]
        return pa.RecordBatch.from_arrays(
            [
                _OPS.take(pa.array(op)),
                *(pa.array(where[:, i]) for i in range(3)),
                pa.array(where[:, 3] + EPOCH_SHIFT_US, TIMESTAMP),
                pa.array(bodies, pa.binary()),
                pa.array(np.where(new_at >= 0, new_at - start, -1)),
                pa.array(np.where(old_at >= 0, old_at - start, -1)),
            ],
            schema=RAW_SCHEMA,
        )

    def changes(self, pieces: list[pa.RecordBatch]) -> RawChanges:
        return RawChanges(self.name, self.announced, self.reason, pa.Table.from_batches(pieces, RAW_SCHEMA))


def decoded(rows: pa.Table, decoder: RelationDecoder) -> pa.Table:
    """Raw changes (RAW_SCHEMA) as the decoder's columns. Raises what decoding raises."""
    bodies = rows["message"].to_pylist()
    lengths = np.array([len(body) for body in bodies], np.int64)
    start = np.cumsum(lengths) - lengths
    buf = np.frombuffer(b"".join(bodies), np.uint8)
    new_at, old_at = (np.asarray(rows[name]) for name in ("new_at", "old_at"))
    where = np.zeros((rows.num_rows, 5), np.int64)
    for i, name in enumerate(("_commit_lsn", "_ordinal", "_xid")):
        where[:, i] = np.asarray(rows[name])
    where[:, 3] = np.asarray(rows["_committed_at"].cast(pa.int64())) - EPOCH_SHIFT_US
    piece = decoder.decode(
        buf,
        np.asarray(pa.compute.index_in(rows["_op"], _OPS)).astype(np.int64),
        np.where(new_at >= 0, new_at + start, -1),
        np.where(old_at >= 0, old_at + start, -1),
        where,
    )
    return pa.Table.from_batches([piece])
