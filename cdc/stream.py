"""The walsender's other end: a thread that receives, answers keepalives whatever happens, and pushes back.

The thread does nothing but move bytes. When its buffer is full it stops reading, so the server waits for us; it keeps
reporting our position, so the server doesn't give up on us.
"""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

import numpy as np
import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from cdc import libpq
from cdc.errors import RirekiError, SourceUnreachable
from cdc.lsn import Lsn
from cdc.messages import Messages
from cdc.protocol import Keepalive, parse_keepalive, standby_status
from cdc.source import PRINT_AS_WE_READ, address, connect, explain, explained

# What is received into at once: large enough that a scan's fixed costs vanish, small enough to be held several times.
_BUFFER_BYTES = 4 << 20
_STREAMS_SINCE, _KNOWS_ORIGINS_SINCE = 140_000, 160_000  # server_version_num
# While bytes keep coming we look again only after this pause: fewer, fuller looks, and still no delay to speak of.
_BUSY_PAUSE_S = 0.001


# A server that is asked and says nothing for so long is taken for gone: something between us may hold the connection
# open. Decoding a long stretch that isn't for us keeps old servers silent, so it is twice their usual patience.
SILENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Slice:
    """Messages in order of arrival; ``keepalive`` came after them."""

    messages: Messages
    keepalive: Keepalive | None


class ReplicationStream:
    """START_REPLICATION on a slot. Use as ``with stream.start():``; ``receive`` and ``confirm`` from any one thread."""

    def __init__(
        self, dsn: str, slot: str, publication: str, *, buffer_bytes: int = 64 << 20, binary: bool = True
    ) -> None:
        self._dsn, self._slot, self._publication, self._binary = dsn, slot, publication, binary
        self._buffer_bytes = buffer_bytes
        self._received, self._confirmed = Lsn(0), Lsn(0)
        self._slices: deque[Slice] = deque()
        self._buffered = 0
        self._buf = np.empty(_BUFFER_BYTES, np.uint8)
        self._handed_over = 0  # up to here the buffer's content is in slices
        self._state, self._pointer, self._keepalive = libpq.new_state()
        self._changed = threading.Condition()
        self._report_now = self._ask = self._stopping = False
        self._error: RirekiError | None = None
        self._thread = threading.Thread(target=self._run, name=f"receive-{slot}", daemon=True)
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def start(self) -> ReplicationStream:
        """Start at the slot's confirmed position. Raises SlotInUse, SlotLost, PublicationMissing, SourceUnreachable."""
        self._connection = connect(self._dsn, replication=True, application_name=f"rireki {self._slot}")
        try:
            with explained(self._dsn, slot=self._slot, publication=self._publication):
                self._connection.execute(PRINT_AS_WE_READ)
                self._status_interval_s = self._quarter_of_timeout()
                self._start_replication()
        except BaseException:
            self._connection.close()
            raise
        self._thread.start()
        return self

    def __enter__(self) -> ReplicationStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def receive(self, timeout_s: float) -> Slice | None:
        """The next slice, or None after ``timeout_s``. Raises what ended the stream."""
        with self._changed:
            if not self._slices and self._error is None:
                self._changed.wait(timeout_s)
            if self._slices:
                taken = self._slices.popleft()
                self._buffered -= len(taken.messages.content)
                self._changed.notify_all()
                return taken
            if self._error is not None:
                raise self._error
            return None

    def confirm(self, lsn: Lsn) -> None:
        """PostgreSQL may forget everything before ``lsn``: call only after it is durable."""
        self._confirmed = max(self._confirmed, lsn)
        self._report_now = True

    def ask_position(self) -> None:
        """Have the server say how far it has read: the answer is a slice with a keepalive."""
        self._ask = self._report_now = True

    def _quarter_of_timeout(self) -> float:
        """How often to report, so that wal_sender_timeout is never near; 10 s where there is none."""
        assert self._connection is not None
        row = self._connection.execute("SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'").fetchone()
        timeout_ms = int(str(row[0])) if row else 0
        return min(10.0, timeout_ms / 4000) if timeout_ms else 10.0

    def _start_replication(self) -> None:
        assert self._connection is not None
        # A server that may send a transaction while it runs need not keep it until its end, and nor need we wait.
        version = self._connection.info.server_version
        command = sql.SQL(
            "START_REPLICATION SLOT {} LOGICAL 0/0 ({}, publication_names {}, messages 'true', binary {}{})"
        ).format(
            sql.Identifier(self._slot),
            sql.SQL("proto_version '2', streaming 'on'" if version >= _STREAMS_SINCE else "proto_version '1'"),
            sql.Literal(sql.Identifier(self._publication).as_string(self._connection)),
            sql.Literal("true" if self._binary else "false"),
            # What the source has by replication from elsewhere belongs to its rows as well as what was written there.
            sql.SQL(", origin 'any'" if version >= _KNOWS_ORIGINS_SINCE else ""),
        )
        result = self._connection.pgconn.exec_(command.as_bytes(self._connection))
        if result.status != ExecStatus.COPY_BOTH:
            raise psycopg.errors.error_from_result(result)

    def _run(self) -> None:
        try:
            self._receive_until_stopped()
        except psycopg.Error as error:
            self._fail(explain(error, self._dsn, slot=self._slot, publication=self._publication))
        except OSError as error:
            self._fail(SourceUnreachable(str(error), subject=address(self._dsn)))

    def _fail(self, error: RirekiError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _receive_until_stopped(self) -> None:
        assert self._connection is not None
        pgconn = self._connection.pgconn
        reported_at, interval = datetime.now(UTC), self._status_interval_s
        heard_at = time.monotonic()
        while not self._stopping:
            if self._buffered < self._buffer_bytes:
                readable, _, _ = select.select([pgconn.socket], [], [], min(interval, 0.2))
                # libpq may hold a message back that is in no socket any more.
                if readable or self._state[libpq.PENDING]:
                    self._drain()
                    heard_at = time.monotonic()
                    time.sleep(_BUSY_PAUSE_S)
                elif time.monotonic() - heard_at > SILENCE_S:
                    raise psycopg.OperationalError(f"no answer from the server for {SILENCE_S:g} s")
                elif time.monotonic() - heard_at > SILENCE_S / 4:
                    self._ask = True
            else:
                heard_at = time.monotonic()  # we don't listen
                with self._changed:
                    self._changed.wait(min(interval, 0.2))
            now = datetime.now(UTC)
            if self._report_now or (now - reported_at).total_seconds() >= interval:
                self._report_now = False
                self._report(now)
                reported_at = now
        # The last word: what became durable before the stop is confirmed, so that the next start need not see it again.
        self._report(datetime.now(UTC))

    def _report(self, now: datetime) -> None:
        assert self._connection is not None
        pgconn = self._connection.pgconn
        ask, self._ask = self._ask, False
        received = max(self._received, self._confirmed)
        pgconn.put_copy_data(standby_status(received, self._confirmed, now, ask_reply=ask))
        pgconn.flush()

    def _drain(self) -> None:
        """Everything that has arrived, while there is room for it."""
        assert self._connection is not None
        connection, state = getattr(self._connection.pgconn, "pgconn_ptr"), self._state  # noqa: B009 (not in its protocol)
        while not self._stopping:
            state[[libpq.MESSAGES, libpq.KEEPALIVES]] = 0
            libpq.receive(connection, self._buf, state, self._pointer, self._keepalive)
            self._hand_over()
            if state[libpq.BROKEN]:
                raise psycopg.OperationalError(self._connection.pgconn.error_message.decode(errors="replace"))
            if state[libpq.ENDED]:
                raise self._ended()
            if not state[libpq.PENDING]:
                return
            self._buf = np.empty(max(_BUFFER_BYTES, int(state[libpq.PENDING])), np.uint8)
            self._handed_over = state[libpq.FILLED] = 0
            if self._buffered >= self._buffer_bytes:
                return

    def _ended(self) -> psycopg.Error:
        """Why the server left COPY mode: its error, or an orderly end."""
        assert self._connection is not None
        result = self._connection.pgconn.get_result()
        if result is not None and result.status == ExecStatus.FATAL_ERROR:
            return psycopg.errors.error_from_result(result)
        return psycopg.OperationalError("the server closed the stream")

    def _hand_over(self) -> None:
        keepalive = None
        if self._state[libpq.KEEPALIVES]:
            keepalive = parse_keepalive(self._keepalive.tobytes())
            self._received = max(self._received, keepalive.wal_end)
            self._report_now |= keepalive.reply_requested
        begin, filled = self._handed_over, int(self._state[libpq.FILLED])
        count = int(self._state[libpq.MESSAGES])
        if not count and keepalive is None:
            return
        self._handed_over = filled
        with self._changed:
            self._buffered += filled - begin
            if self._slices and begin:
                # Nobody has taken what lies before it in the same buffer: one slice of both.
                waiting = self._slices.pop().messages
                begin, count = begin - len(waiting.content), count + waiting.count
            self._slices.append(Slice(Messages(self._buf[begin:filled], count), keepalive))
            self._changed.notify_all()
