"""From slices of raw messages to batches of whole transactions.

Each slice is joined, scanned once, split by relation, and built column by column. No Python runs per row. The slice
behind the last commit waits until its transaction is whole; a transaction larger than a slice is decoded as it
arrives and handed out with its commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa

from cdc import context, scan
from cdc.batch import Batch, TableChanges
from cdc.changes import RelationDecoder
from cdc.errors import ProtocolViolation
from cdc.lsn import Lsn
from cdc.messages import Messages
from cdc.protocol import RELATION, RelationMessage, from_postgres_time, parse_relation
from cdc.relation import Relation

DecoderOf = Callable[[RelationMessage], RelationDecoder]

# A transaction that has sent this much without its commit is decoded as it comes, not kept raw.
_RAW_LIMIT_BYTES = 16 << 20


@dataclass(slots=True)
class _Decoded:
    """Slices decoded and not yet handed out."""

    pieces: dict[Relation, list[pa.RecordBatch]] = field(default_factory=dict)
    begun: list[np.ndarray] = field(default_factory=list)
    touched: list[np.ndarray] = field(default_factory=list)  # int64[n, 3]: transaction, table number, rows
    messages: list[context.LogicalMessage] = field(default_factory=list)
    rows: int = 0
    byte_count: int = 0


class Assembler:
    """Feed it messages in the order of their arrival; take batches.

    ``decoder_of`` gives the decoder of a relation that the stream has announced.
    """

    def __init__(self, stream: str, start: Lsn, decoder_of: DecoderOf) -> None:
        self._stream = stream
        self._from = start
        self._decoder_of = decoder_of
        self._decoders: dict[int, RelationDecoder] = {}
        self._announced: dict[int, RelationMessage] = {}
        self._tables: dict[int, int] = {}  # relation oid -> number in _table_names
        self._table_names: list[str] = []
        self._at = np.array([0, 0, 0, 0, -1], np.int64)
        self._raw: list[Messages] = []
        self._raw_bytes = 0
        self._ready = _Decoded()
        self._in_transaction = False
        self._end: Lsn | None = None
        self._committed_at_us = 0

    @property
    def ready_rows(self) -> int:
        """Row changes of whole transactions, and of the parts of a large one, waiting to be taken."""
        return self._ready.rows

    @property
    def ready_bytes(self) -> int:
        return self._ready.byte_count

    @property
    def has_ready(self) -> bool:
        """A whole transaction waits to be taken."""
        return self._end is not None

    @property
    def reached(self) -> Lsn | None:
        """Where the whole transactions that wait to be taken end; None if none waits."""
        return self._end

    @property
    def mid_transaction(self) -> bool:
        """Something has arrived whose commit hasn't."""
        return self._in_transaction or bool(self._raw)

    def feed(self, messages: Messages) -> None:
        """Take in messages in order."""
        last_commit = _last_commit(messages)
        if last_commit >= 0:
            self._decode(Messages.joined([*self._raw, messages.part(0, last_commit + 1)]))
            self._in_transaction = False
            self._raw, self._raw_bytes = [], 0
            messages = messages.part(last_commit + 1, messages.count)
        if messages.count:
            self._raw.append(messages)
            self._raw_bytes += len(messages.content)
        if self._raw_bytes > _RAW_LIMIT_BYTES:
            self._decode(Messages.joined(self._raw))
            self._in_transaction = True
            self._raw, self._raw_bytes = [], 0

    def take(self) -> tuple[Batch, tuple[context.ResyncRequest, ...]] | None:
        """The whole transactions so far, and what their authors ask of the stream. None if there is none.

        Inside a large transaction it waits for the commit, since its parts are already among the pieces.
        """
        if self._end is None or self._in_transaction:
            return None
        ready, end = self._ready, self._end
        tables = tuple(
            TableChanges(relation, pa.Table.from_batches(pieces)) for relation, pieces in ready.pieces.items()
        )
        transactions = context.transactions(ready.begun, ready.touched, ready.messages, self._table_names)
        batch = Batch(self._stream, self._from, end, from_postgres_time(self._committed_at_us), tables, transactions)
        self._ready, self._end, self._from = _Decoded(), None, end
        return batch, context.resync_requests(ready.begun, ready.messages)

    def idle_batch(self, wal_end: Lsn, server_time: datetime) -> Batch | None:
        """An advance over a stretch in which, says the server, nothing was committed for us. None if it is empty.

        Only for a keepalive that came behind everything fed so far, when nothing of it waits.
        """
        if self.has_ready or self.mid_transaction or wal_end <= self._from:
            return None
        batch = Batch(self._stream, self._from, wal_end, server_time, (), context.NO_TRANSACTIONS)
        self._from = wal_end
        return batch

    def _decode(self, messages: Messages) -> None:
        """Decode messages, cut where a relation's columns change under changes already scanned."""
        buf, starts, kinds = messages.content, messages.starts, messages.kinds
        begin = 0
        for i in np.flatnonzero(kinds == RELATION).tolist():
            message = parse_relation(messages.payload(i))
            known = self._announced.get(message.oid)
            if known == message:
                continue
            if known is not None:
                self._decode_span(buf, starts[begin:i], kinds[begin:i])
                begin = i
            decoder = self._decoder_of(message)
            self._announced[message.oid] = message
            self._decoders[message.oid] = decoder
            if known is None or known.name != message.name:
                self._tables[message.oid] = len(self._table_names)
                self._table_names.append(str(message.name))
        self._decode_span(buf, starts[begin:], kinds[begin:])

    def _decode_span(self, buf: scan.Bytes, starts: scan.Ints, kinds: scan.Bytes) -> None:
        n, n_begun, n_messages = scan.count_changes(buf, starts, kinds)
        oid, op = np.empty(n, np.int64), np.empty(n, np.int64)
        new_at, old_at = np.empty(n, np.int64), np.empty(n, np.int64)
        where = np.empty((n, 5), np.int64)
        begun, ended = np.empty((n_begun, 5), np.int64), np.empty((n_begun + 1, 2), np.int64)
        messages = np.empty((n_messages, 5), np.int64)
        _, _, commits, _ = scan.index_changes(
            buf, starts, kinds, self._at, oid, op, new_at, old_at, where, begun, ended, messages, *_PREFIXES
        )
        ready = self._ready
        ready.begun.append(begun)
        ready.messages += context.logical_messages(buf, messages)
        ready.rows += n
        ready.byte_count += int(len(buf) - starts[0]) if len(starts) else 0
        if commits:
            self._end = Lsn(int(ended[commits - 1, 1]))
            self._committed_at_us = int(self._at[scan.AT_COMMITTED_AT])
        if not n:
            return
        order = np.argsort(oid, kind="stable")
        sorted_oid = oid[order]
        bounds = np.flatnonzero(np.diff(sorted_oid)) + 1
        for rows_of in np.split(order, bounds):
            relation_oid = int(oid[rows_of[0]])
            decoder = self._decoders.get(relation_oid)
            if decoder is None:
                raise ProtocolViolation(
                    f"a change of relation {relation_oid} before its description", subject="pgoutput"
                )
            piece = decoder.decode(buf, op[rows_of], new_at[rows_of], old_at[rows_of], where[rows_of])
            ready.pieces.setdefault(decoder.relation, []).append(piece)
            numbers, counts = np.unique(where[rows_of, 4], return_counts=True)
            table = np.full(len(numbers), self._tables[relation_oid], np.int64)
            ready.touched.append(np.stack([numbers, table, counts.astype(np.int64)], axis=1))


_COMMIT = ord("C")

_PREFIXES = tuple(
    np.frombuffer(prefix, np.uint8) for prefix in (scan.CONTEXT_PREFIX, scan.RESYNC_PREFIX, scan.HEARTBEAT_PREFIX)
)


def _last_commit(messages: Messages) -> int:
    found = np.flatnonzero(messages.kinds == _COMMIT)
    return int(found[-1]) if len(found) else -1
