"""From slices of raw messages to batches of whole transactions.

Each slice is joined, scanned once, split by relation, and built column by column. No Python runs per row. The slice
behind the last commit waits until its transaction is whole. A transaction that memory shouldn't hold is decoded as it
arrives and handed out in parts; the batch with its last rows holds no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from cdc import context, scan
from cdc.batch import Batch, Part, RawChanges, TableChanges
from cdc.changes import RelationDecoder
from cdc.errors import BinaryUnreadable, ProtocolViolation, RirekiError, TypeNotSupported
from cdc.lsn import Lsn
from cdc.messages import Messages
from cdc.protocol import RELATION, RelationMessage, from_postgres_time, parse_relation
from cdc.raw import RawDecoder
from cdc.relation import Relation, ReplicaIdentity
from cdc.streamed import StreamedTransactions

DecoderOf = Callable[[RelationMessage], RelationDecoder]


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole transactions, and what their authors ask of the stream."""

    batch: Batch
    requests: tuple[context.ResyncRequest, ...]


Taken: TypeAlias = Whole | Part


@dataclass(slots=True)
class _Decoded:
    """Slices decoded and not yet handed out."""

    pieces: dict[Relation, list[pa.RecordBatch]] = field(default_factory=dict)
    raw: dict[RawDecoder, list[pa.RecordBatch]] = field(default_factory=dict)
    begun: list[np.ndarray] = field(default_factory=list)
    touched: list[np.ndarray] = field(default_factory=list)  # int64[n, 3]: transaction, table number, rows
    messages: list[context.LogicalMessage] = field(default_factory=list)
    origins: dict[int, context.Origin] = field(default_factory=dict)  # by the transaction's number
    rows: int = 0
    byte_count: int = 0


class Assembler:
    """Feed it messages in the order of their arrival; take batches.

    ``decoder_of`` gives the decoder of a relation that the stream has announced; ``streamed`` keeps aside what hasn't
    committed. A transaction that has sent ``hold_bytes`` without its commit is decoded as it comes, not kept raw; it is
    handed out in parts of about ``part_bytes`` of messages, which are as much again as columns.

    A relation for which ``decoder_of`` raises one of ``refused``, or whose rows can't be decoded, comes out raw, until
    it is announced in another shape.
    """

    def __init__(
        self,
        stream: str,
        start: Lsn,
        decoder_of: DecoderOf,
        streamed: StreamedTransactions | None = None,
        *,
        hold_bytes: int = 16 << 20,
        part_bytes: int = 64 << 20,
        refused: tuple[type[RirekiError], ...] = (TypeNotSupported,),
    ) -> None:
        self._stream = stream
        self._from = start
        self._decoder_of = decoder_of
        self._refused = refused
        self._decoders: dict[int, RelationDecoder | RawDecoder] = {}
        self._payloads: dict[int, bytes] = {}  # of the Relation messages
        self._announced: dict[int, RelationMessage] = {}
        self._tables: dict[int, int] = {}  # relation oid -> number in _table_names
        self._table_names: list[str] = []
        self._at = np.array([0, 0, 0, 0, -1], np.int64)
        self._streamed = streamed or StreamedTransactions()
        self._hold_bytes, self._part_bytes = hold_bytes, part_bytes
        self._incoming: Iterator[Messages] | None = None  # what was fed and isn't taken in yet
        self._sealed: deque[Taken] = deque()
        self._raw: list[Messages] = []
        self._raw_bytes = 0
        self._ready = _Decoded()
        self._is_large = False  # the transaction at hand is decoded as it comes
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
        """Something waits to be taken."""
        return self.is_full or self._end is not None

    @property
    def is_full(self) -> bool:
        """What waits to be taken won't grow."""
        return bool(self._sealed)

    @property
    def has_more(self) -> bool:
        """Not all that was fed has been taken in: ``proceed`` comes before the next ``feed``."""
        return self._incoming is not None

    @property
    def reached(self) -> Lsn | None:
        """Where the whole transactions that wait to be taken end; None if none waits."""
        if self._end is not None:
            return self._end
        return next((taken.batch.end_lsn for taken in reversed(self._sealed) if isinstance(taken, Whole)), None)

    @property
    def mid_transaction(self) -> bool:
        """Something has arrived whose commit hasn't. Transactions that the server sends ahead don't count: their
        commit is sent when its turn has come.
        """
        return self._is_large or bool(self._raw) or self.has_more or self._streamed.in_block

    def feed(self, messages: Messages) -> None:
        """Take in messages in order, as far as memory should hold what they become."""
        self._incoming = self._streamed.divide(messages)
        self.proceed()

    def proceed(self) -> None:
        """Take in more of what was fed; stops where something is full."""
        while self._incoming is not None and not self._sealed:
            messages = next(self._incoming, None)
            if messages is None:
                self._incoming = None
            else:
                self._take_in(messages)

    def take(self) -> Taken | None:
        """What is full; else the whole transactions so far; None if there is nothing, or only parts of one."""
        if not self._sealed and self._end is not None:
            self._seal_whole()
        return self._sealed.popleft() if self._sealed else None

    def _take_in(self, messages: Messages) -> None:
        if self._is_large:
            first_commit = _commits(messages)[:1]
            if not len(first_commit):
                self._decode_part(messages)
                return
            self._decode(messages.part(0, int(first_commit[0]) + 1))
            self._is_large = False
            self._seal_whole()
            messages = messages.part(int(first_commit[0]) + 1, messages.count)
        last_commit = _commits(messages)[-1:]
        if len(last_commit):
            self._decode(Messages.joined([*self._raw, messages.part(0, int(last_commit[0]) + 1)]))
            self._raw, self._raw_bytes = [], 0
            messages = messages.part(int(last_commit[0]) + 1, messages.count)
        # Outside of transactions there are only messages that belong to none: they say nothing to us.
        if self._raw or (messages.kinds == _BEGIN).any():
            self._raw.append(messages)
            self._raw_bytes += len(messages.content)
        if self._raw_bytes > self._hold_bytes:
            if self._end is not None:
                self._seal_whole()
            self._is_large = True
            self._decode_part(Messages.joined(self._raw))
            self._raw, self._raw_bytes = [], 0

    def _decode_part(self, messages: Messages) -> None:
        self._decode(messages)
        if self._ready.byte_count >= self._part_bytes:
            ready = self._ready
            self._sealed.append(Part(self._stream, Lsn(int(self._at[scan.AT_COMMIT_LSN])), _tables(ready), _raw(ready)))
            ready.pieces, ready.raw, ready.rows, ready.byte_count = {}, {}, 0, 0

    def _seal_whole(self) -> None:
        ready, end = self._ready, self._end
        assert end is not None
        transactions = context.transactions(
            ready.begun, ready.touched, ready.messages, ready.origins, self._table_names
        )
        committed_at = from_postgres_time(self._committed_at_us)
        batch = Batch(self._stream, self._from, end, committed_at, _tables(ready), transactions, _raw(ready))
        self._sealed.append(Whole(batch, context.resync_requests(ready.begun, ready.messages)))
        self._ready, self._end, self._from = _Decoded(), None, end

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
            self._payloads[message.oid] = messages.payload(i)
            if known == message and message.identity is not ReplicaIdentity.FULL:
                continue
            decoder = self._decoder(message)
            if known == message and _is_alike(decoder, self._decoders[message.oid]):
                continue  # FULL doesn't tell another primary key, by which rows are found all the same
            if known is not None:
                self._decode_span(buf, starts[begin:i], kinds[begin:i])
                begin = i
            self._decoders[message.oid] = decoder
            self._announced[message.oid] = message
            if known is None or known.name != message.name:
                self._tables[message.oid] = len(self._table_names)
                self._table_names.append(str(message.name))
        self._decode_span(buf, starts[begin:], kinds[begin:])

    def _decoder(self, message: RelationMessage) -> RelationDecoder | RawDecoder:
        try:
            return self._decoder_of(message)
        except self._refused as error:
            return RawDecoder(message, self._payloads[message.oid], error.what)

    def _decode_span(self, buf: scan.Bytes, starts: scan.Ints, kinds: scan.Bytes) -> None:
        n, n_begun, n_messages = scan.count_changes(buf, starts, kinds)
        oid, op = np.empty(n, np.int64), np.empty(n, np.int64)
        new_at, old_at = np.empty(n, np.int64), np.empty(n, np.int64)
        where = np.empty((n, 5), np.int64)
        begun, ended = np.empty((n_begun, 5), np.int64), np.empty((n_begun + 1, 2), np.int64)
        messages = np.empty((n_messages, 5), np.int64)
        origins = context.origins(buf, starts, kinds, int(self._at[scan.AT_TRANSACTION]))
        _, _, commits, _ = scan.index_changes(
            buf, starts, kinds, self._at, oid, op, new_at, old_at, where, begun, ended, messages, *_PREFIXES
        )
        ready = self._ready
        ready.begun.append(begun)
        ready.messages += context.logical_messages(buf, messages)
        ready.origins |= origins
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
            taken = op[rows_of], new_at[rows_of], old_at[rows_of], where[rows_of]
            if isinstance(decoder, RelationDecoder):
                try:
                    piece = decoder.decode(buf, *taken)
                    ready.pieces.setdefault(decoder.relation, []).append(piece)
                except BinaryUnreadable:
                    raise  # a session in text reads the row, so nothing is to be put aside
                except (RirekiError, ValueError, TypeError, ArithmeticError, LookupError) as error:
                    message = self._announced[relation_oid]
                    decoder = RawDecoder(message, self._payloads[relation_oid], f"a row can't be read: {error}")
                    self._decoders[relation_oid] = decoder
            if isinstance(decoder, RawDecoder):
                ready.raw.setdefault(decoder, []).append(decoder.decode(buf, starts, *taken))
            numbers, counts = np.unique(where[rows_of, 4], return_counts=True)
            table = np.full(len(numbers), self._tables[relation_oid], np.int64)
            ready.touched.append(np.stack([numbers, table, counts.astype(np.int64)], axis=1))


_BEGIN, _COMMIT = ord("B"), ord("C")

_PREFIXES = tuple(
    np.frombuffer(prefix, np.uint8) for prefix in (scan.CONTEXT_PREFIX, scan.RESYNC_PREFIX, scan.HEARTBEAT_PREFIX)
)


def _is_alike(one: RelationDecoder | RawDecoder, other: RelationDecoder | RawDecoder) -> bool:
    """Two raw ones aren't told apart: what the table couldn't take goes on until it is announced in another shape."""
    if isinstance(one, RelationDecoder) and isinstance(other, RelationDecoder):
        return one.relation == other.relation
    return isinstance(other, RawDecoder)


def _commits(messages: Messages) -> scan.Ints:
    return np.flatnonzero(messages.kinds == _COMMIT)


def _tables(ready: _Decoded) -> tuple[TableChanges, ...]:
    return tuple(TableChanges(relation, pa.Table.from_batches(pieces)) for relation, pieces in ready.pieces.items())


def _raw(ready: _Decoded) -> tuple[RawChanges, ...]:
    return tuple(decoder.changes(pieces) for decoder, pieces in ready.raw.items())
