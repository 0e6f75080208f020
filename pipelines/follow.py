"""The loop itself: one connection's stream, batch by batch, until it is told to stop or the stream breaks.

Two threads: one takes in and decodes what arrives, the other makes batches durable, one after the other, and confirms
them. So the next batch is decoded while the last one is being written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace

from cdc.assemble import Assembler, Whole
from cdc.batch import Batch, Part, RawChanges, TableChanges
from cdc.context import ResyncRequest
from cdc.slot import beat
from cdc.stream import ReplicationStream, Slice
from lakehouse.errors import LakeError
from lakehouse.writer import NOTHING_STAGED, LakeWriter, StagedRows
from pipelines import failpoints
from pipelines.applier import Applier
from pipelines.copies import Copies
from pipelines.replay import Replays
from pipelines.sections import Capture as Limits
from pipelines.watch import Watch
from pipelines.wishes import Wishes

_POLL_S = 0.05  # how long to wait for bytes before looking at the clock
_IN_FLIGHT = 2  # batches: one that is being written, one that waits; then the stream is pushed back
_WATCH_PUBLICATION_S = 5.0  # how soon a table added to the publication is copied


class Follower:
    """Carries one stream. ``check`` may refuse a batch before it is appended; ``on_durable`` is told of each after it
    is durable and confirmed, ``on_part`` of each part of a large transaction after it is written."""

    def __init__(
        self,
        dsn: str,
        limits: Limits,
        stream: ReplicationStream,
        assembler: Assembler,
        writer: LakeWriter,
        applier: Applier,
        copies: Copies,
        wishes: Wishes,
        watch: Watch,
        replays: Replays,
        check: Callable[[Batch], None],
        on_durable: Callable[[Batch], None],
        on_part: Callable[[Part], None],
    ) -> None:
        self._dsn, self._limits = dsn, limits
        self._stream, self._assembler = stream, assembler
        self._writer, self._applier, self._copies, self._wishes = writer, applier, copies, wishes
        self._watch, self._replays = watch, replays
        self._check, self._on_durable, self._on_part = check, on_durable, on_part
        now = time.monotonic()
        self._waiting_since: float | None = None  # since when a whole transaction waits for company
        self._progressed_at = self._asked_at = self._beat_at = self._watched_at = now
        self._committing = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._in_flight: deque[Future[None]] = deque()
        # Of the committing thread alone:
        self._failed = False
        self._staged: StagedRows = NOTHING_STAGED  # of a transaction whose end hasn't come

    def follow(self, done: Callable[[], bool]) -> None:
        """Returns, or raises, once nothing is being written any more; what waits by then is left to the next start."""
        try:
            self._follow(done)
        finally:
            self._committing.shutdown(wait=True, cancel_futures=True)
            with suppress(LakeError):  # what stays is in no version, and goes with the next clean-up
                self._writer.discard(self._staged)

    def _follow(self, done: Callable[[], bool]) -> None:
        while not done():
            self._applier.raise_failure()
            self._wishes.raise_failure()
            if self._has_room():
                arrived = None
                if self._assembler.has_more:
                    self._assembler.proceed()
                elif (arrived := self._stream.receive(_POLL_S)) is not None:
                    self._assembler.feed(arrived.messages)
                elif not self._assembler.has_ready and not self._in_flight:
                    self._applier.catch_up()
                if self._is_due():
                    self._commit_taken()
                elif arrived is not None:
                    self._commit_idle(arrived)
            self._look_at_the_clock()

    def _is_due(self) -> bool:
        """Whether the waiting transactions are many enough, or have waited long enough."""
        if not self._assembler.has_ready or self._assembler.is_full:
            return self._assembler.is_full
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        return (
            # While a batch is being written the next may as well grow.
            (not self._in_flight and (now - self._waiting_since) * 1000 >= self._limits.max_fill_ms)
            or self._assembler.ready_rows >= self._limits.max_batch_rows
            or self._assembler.ready_bytes >= self._limits.max_batch_bytes
        )

    def _commit_taken(self) -> None:
        self._waiting_since = None
        match self._assembler.take():
            case Whole(batch, requests):
                self._submit(self._commit, batch, requests)
            case Part() as part:
                self._submit(self._stage, part)
            case None:
                pass

    def _commit_idle(self, arrived: Slice) -> None:
        silent_s = time.monotonic() - self._progressed_at
        if arrived.keepalive is None or self._in_flight or silent_s < self._limits.idle_cut_seconds:
            return
        idle = self._assembler.idle_batch(arrived.keepalive.wal_end, arrived.keepalive.server_time)
        if idle is not None:
            self._submit(self._commit, idle, ())

    def _submit(self, work: Callable[..., None], *arguments: object) -> None:
        self._in_flight.append(self._committing.submit(self._in_turn, work, *arguments))

    def _in_turn(self, work: Callable[..., None], *arguments: object) -> None:
        """A batch behind one that failed must never become durable: its position would vouch for both."""
        if self._failed:
            return
        try:
            work(*arguments)
        except BaseException:
            self._failed = True
            raise

    def _has_room(self) -> bool:
        """Whether another batch may be begun; waits a moment for it. Raises what the writing of one has raised."""
        if len(self._in_flight) >= _IN_FLIGHT:
            wait([self._in_flight[0]], timeout=_POLL_S)
        while self._in_flight and self._in_flight[0].done():
            self._in_flight.popleft().result()
        return len(self._in_flight) < _IN_FLIGHT

    def _stage(self, part: Part) -> None:
        part = replace(part, tables=self._only_copied(part.tables), raw=self._only_held(part.raw))
        self._staged = self._writer.stage(part, self._staged, self._watch.vouched(part.tables, part.raw))
        self._progressed_at = time.monotonic()
        self._on_part(part)

    def _commit(self, batch: Batch, requests: tuple[ResyncRequest, ...]) -> None:
        self._check(batch)
        batch = replace(batch, tables=self._only_copied(batch.tables), raw=self._only_held(batch.raw))
        staged, self._staged = self._staged, NOTHING_STAGED
        self._writer.append(batch, staged, self._watch.vouched(batch.tables, batch.raw))
        if self._watch.is_passed(batch.end_lsn):
            self._look_at_the_catalogue()
        self._wishes.take(request for request in requests if not request.replay)
        # Confirmed with its batch: served first, so that a crash in between serves it again.
        self._replays.requested(requests)
        failpoints.hit("confirm.before")
        self._stream.confirm(self._wishes.confirmable(batch.end_lsn))
        failpoints.hit("confirm.after")
        self._applier.reach(batch.end_lsn, batch.source_time, is_behind=self._is_behind(batch))
        self._progressed_at = time.monotonic()
        self._on_durable(batch)
        if any(self._copies.is_due(table) for table in {*staged, *(changes.relation.name for changes in batch.tables)}):
            # Columns changed in a way that only a copy can tell. After a crash, the next start finds it due, too.
            self._look_at_the_catalogue()

    def _is_behind(self, batch: Batch) -> bool:
        """A stream that keeps up has small batches. Half of a full one: what waits ``max_fill_ms`` is taken earlier."""
        rows = sum(changes.rows.num_rows for changes in batch.tables)
        size_bytes = sum(int(changes.rows.nbytes) for changes in batch.tables)
        return 2 * rows >= self._limits.max_batch_rows or 2 * size_bytes >= self._limits.max_batch_bytes

    def _only_copied(self, tables: tuple[TableChanges, ...]) -> tuple[TableChanges, ...]:
        """Changes of a table that has just joined the publication stand on its copy: make that first.

        A table that left the publication before it was ever copied has nothing to stand on; the lake never spoke of it.
        """
        if all(self._copies.is_copied(changes.relation.name) for changes in tables):
            return tables
        self._watch.look()
        self._copies.missing()
        return tuple(changes for changes in tables if self._copies.is_copied(changes.relation.name))

    def _only_held(self, raw: tuple[RawChanges, ...]) -> tuple[RawChanges, ...]:
        """What can't be taken of a table that the lake doesn't hold yet needs no keeping: its copy will say it all."""
        return tuple(one for one in raw if self._copies.is_copied(one.name))

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now - max(self._progressed_at, self._asked_at) >= self._limits.idle_cut_seconds:
            self._asked_at = now
            self._stream.ask_position()
        if self._limits.heartbeat_seconds and now - self._beat_at >= self._limits.heartbeat_seconds:
            self._beat_at = now
            beat(self._dsn)
        if now - self._watched_at >= _WATCH_PUBLICATION_S:
            self._watched_at = now
            self._submit(self._look_at_the_catalogue)

    def _look_at_the_catalogue(self) -> None:
        self._watch.look()
        if self._copies.missing():
            beat(self._dsn)  # gives a source at rest something behind the copy to pass
