"""Transactions that the server sends while they still run: kept aside until they commit, dropped when they roll back.

A server whose memory for decoding (``logical_decoding_work_mem``) is full sends the largest transaction that it holds,
block by block, and blocks of several may alternate, with whole transactions between them. What is rolled back to a
savepoint is said by the savepoint's own id. Behind this place every transaction looks as if it had been sent at its
commit: same messages, same order, so the same rows and ordinals however much memory the server has.

Source: PostgreSQL documentation, "Logical Streaming Replication Protocol", messages Stream Start to Stream Abort.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cdc.errors import ProtocolViolation
from cdc.messages import Messages
from cdc.protocol import RELATION
from cdc.spill import Spill

_START, _STOP, _COMMIT, _ABORT = (ord(kind) for kind in "SEcA")


@dataclass(slots=True)
class _Running:
    spill: Spill
    # Descriptions of tables that others were sent since this transaction was last sent its own, by relation: they are
    # the newer ones, and hold again once the older have been replayed.
    newer: dict[int, bytes] = field(default_factory=dict)


class StreamedTransactions:
    """``spill_folder``: where the files go; the system's folder for temporary files if None."""

    def __init__(self, spill_folder: Path | None = None) -> None:
        self._folder = spill_folder
        self._open: dict[int, _Running] = {}  # by the id of the transaction
        self._block: _Running | None = None  # what arrives now belongs there

    @property
    def in_block(self) -> bool:
        """The rest of a block is still to come."""
        return self._block is not None

    @property
    def spilled_bytes(self) -> int:
        """What is kept aside of transactions that still run."""
        return sum(running.spill.byte_count for running in self._open.values())

    def divide(self, messages: Messages) -> Iterator[Messages]:
        """What is to be decoded now, in order, a few MiB at a time. To be exhausted before the next call."""
        kinds = messages.kinds
        marks = (kinds == _START) | (kinds == _STOP) | (kinds == _COMMIT) | (kinds == _ABORT)
        begin = 0
        for mark in [*np.flatnonzero(marks).tolist(), messages.count]:
            between = messages.part(begin, mark)
            if between.count and self._open:
                self._note_relations(between)
            if self._block is not None:
                self._block.spill.write(between)
            elif between.count:
                yield between
            if mark < messages.count:
                yield from self._obey(messages.payload(mark))
            begin = mark + 1

    def close(self) -> None:
        for running in self._open.values():
            running.spill.close()
        self._open, self._block = {}, None

    def _note_relations(self, messages: Messages) -> None:
        for number in np.flatnonzero(messages.kinds == RELATION).tolist():
            payload = messages.payload(number)
            # Inside a block the transaction's id comes first.
            (oid,) = struct.unpack_from(">I", payload, 1 if self._block is None else 5)
            if self._block is not None:
                self._block.newer.pop(oid, None)
                continue
            for running in self._open.values():
                running.newer[oid] = payload

    def _obey(self, payload: bytes) -> Iterator[Messages]:
        kind = payload[0]
        if kind == _STOP:
            self._block = None
            return
        (xid,) = struct.unpack_from(">I", payload, 1)
        if kind == _START:
            if xid not in self._open:
                self._open[xid] = _Running(Spill(self._folder))
            self._block = self._open[xid]
        elif kind == _ABORT:
            self._roll_back(xid, *struct.unpack_from(">I", payload, 5))
        else:
            yield from self._replay(xid, payload)

    def _roll_back(self, xid: int, subtransaction: int) -> None:
        running = self._open.get(xid)
        if running is None:
            return
        if subtransaction != xid:
            running.spill.roll_back(subtransaction)
        else:
            del self._open[xid]
            running.spill.close()

    def _replay(self, xid: int, payload: bytes) -> Iterator[Messages]:
        running = self._open.pop(xid, None)
        if running is None:
            raise ProtocolViolation(f"transaction {xid} was committed and never begun", subject="pgoutput")
        flags, commit_lsn, end_lsn, committed_at = struct.unpack_from(">BQQq", payload, 5)
        try:
            yield Messages.of([struct.pack(">cQqI", b"B", commit_lsn, committed_at, xid)])
            yield from running.spill.replay()
            commit = struct.pack(">cBQQq", b"C", flags, commit_lsn, end_lsn, committed_at)
            yield Messages.of([commit, *running.newer.values()])
        finally:
            running.spill.close()
