"""The capture process: from the slot into the lake, and confirm last.

    receive ─► assemble ─► append (changelogs, then transactions) ─► confirm ─► cut (in a thread beside)

A lost connection or store is waited for; what the lake already holds is skipped when it comes again. A restart, after
whatever end, continues where the lake's own logs say.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cdc.assemble import Assembler
from cdc.batch import Batch, Part
from cdc.catalogue import Catalogue, PublishedTable
from cdc.changes import RelationDecoder
from cdc.copy import decoder_of
from cdc.errors import BinaryUnreadable, SlotInUse, SourceUnreachable, TypeNotSupported
from cdc.lsn import Lsn
from cdc.protocol import RelationMessage
from cdc.slot import beat, drop_lost_slot, ensure_slot, identify
from cdc.source import address
from cdc.stream import ReplicationStream
from cdc.streamed import StreamedTransactions
from lakehouse.answer import gap_json
from lakehouse.columns import TableColumns
from lakehouse.cuts import Cut, Gap
from lakehouse.errors import LakeUnreachable, NameCollision
from lakehouse.writer import LakeWriter
from pipelines import failpoints
from pipelines.applier import Applier
from pipelines.config import Config
from pipelines.copies import Copies
from pipelines.follow import Follower
from pipelines.holes import Witness, look_for_hole
from pipelines.housekeeping import Housekeeping
from pipelines.memory import give_back_freed_memory
from pipelines.progress import (
    Copied,
    CutWritten,
    Durable,
    GapFound,
    OnProgress,
    Progress,
    Replaying,
    Stopped,
    Streaming,
    Waiting,
)
from pipelines.recovery import end_gaps, is_accepted, recover
from pipelines.replay import Replays
from pipelines.watch import Watch
from pipelines.wishes import Wishes

_LONGEST_PAUSE_S = 30.0  # between two attempts
_SLOT_PATIENCE_S = 10.0  # a killed capture's walsender needs a moment to notice

T = TypeVar("T")


class _Stopped(Exception):
    """Told to stop while waiting for something that is away."""


@dataclass(slots=True)
class CaptureReport:
    """What one run did. ``rows``, in all and per table: rows copied and changes streamed."""

    stream: str
    from_lsn: Lsn | None = None
    to_lsn: Lsn | None = None
    transactions: int = 0
    rows: int = 0
    seconds: float = 0.0
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    gaps: list[dict[str, Any]] = field(default_factory=list)

    def as_object(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def count(self, table: str, rows: int) -> None:
        self.rows += rows
        entry = self.tables.setdefault(table, {"rows": 0, "state": "streaming"})
        entry["rows"] += rows


class Capture:
    """One stream into one lake: ``run`` until told to stop, or ``drain`` until a position."""

    def __init__(self, config: Config, on_progress: OnProgress | None = None) -> None:
        self._config = config
        self._dsn = config.conninfo()
        self._stream = config.stream.name
        self._tell: OnProgress = on_progress or (lambda _: None)
        self._catalogue = Catalogue(self._dsn)
        self._stop = threading.Event()
        self._until: Lsn | None = None
        self._as_text = False
        self._report = CaptureReport(self._stream)
        self._counting = threading.Lock()  # copies are told from threads of their own
        self._wishes: Wishes | None = None  # of the session at hand
        self._in_parts = Counter[str]()  # rows by table of a transaction whose end hasn't come

    def run(self, stop: threading.Event) -> CaptureReport:
        """Follow the source until ``stop`` is set; the batch at hand is finished, no other begun."""
        self._stop = stop
        return self._capture()

    def drain(self, until: Lsn, stop: threading.Event | None = None) -> CaptureReport:
        """Copy what isn't copied yet, stream and apply every transaction that ended before ``until``."""
        self._stop = stop or self._stop
        self._until = until
        return self._capture()

    def _capture(self) -> CaptureReport:
        give_back_freed_memory()
        began = time.monotonic()
        writer: LakeWriter | None = None
        try:
            writer = self._patiently(
                lambda: LakeWriter.open(
                    failpoints.watched(self._config.lake_root()),
                    self._stream,
                    copy_on_write=self._config.lake.without_vectors,
                    properties=self._config.retention.promise().table_properties,
                )
            )
            self._report.from_lsn = writer.durable_to
            if self._done(writer):  # by a position; whose, is to be asked all the same
                self._patiently(lambda: self._close_the_hole(writer, self._copies(writer)))
            while not self._done(writer):
                self._patiently(lambda: self._session(writer))
            self._report.to_lsn = writer.durable_to
        except _Stopped:
            pass
        finally:
            if writer is not None:
                writer.close()
        self._report.seconds = round(time.monotonic() - began, 3)
        self._tell(Stopped(self._report.to_lsn))
        return self._report

    def _done(self, writer: LakeWriter) -> bool:
        if self._stop.is_set():
            return True
        if self._until is None or writer.cut_at is None or writer.cut_at < self._until:
            return False
        return self._wishes is None or self._wishes.is_settled(writer.cut_at)

    def _session(self, writer: LakeWriter) -> None:
        """One connection's life."""
        slot, publication = self._config.stream.slot_name, self._config.stream.publication_name
        copies = self._copies(writer)
        self._close_the_hole(writer, copies)
        state, _ = ensure_slot(self._dsn, slot)
        held = writer.transactions_since(state.confirmed_flush)
        witness = Witness.of(address(self._dsn), writer.durable_to or Lsn(0), held)
        only_as_text = self._catalogue.only_as_text(self._catalogue.published(publication))
        stream = ReplicationStream(
            self._dsn,
            slot,
            publication,
            buffer_bytes=2 * self._config.capture.max_batch_bytes,
            binary=not (self._as_text or only_as_text),
        )
        with Applier(writer, self._cut_written) as applier, Housekeeping(writer), self._opened(stream):
            self._tell(Streaming(self._stream, state.confirmed_flush))
            watch = Watch(self._dsn, publication, writer)
            watch.look()
            copies.missing()
            behind = beat(self._dsn)  # a source at rest has nothing else behind the copies' position
            if self._until is not None and watch.awaits:
                self._until = max(self._until, behind)
            limits = self._config.capture
            leaving = threading.Event()
            on_request = self._copies(writer, lambda: leaving.is_set() or self._stop.is_set())
            with (
                closing(StreamedTransactions(self._config.spill_folder())) as streamed,
                Wishes(self._dsn, writer, on_request, leaving) as wishes,
            ):
                assembler = Assembler(
                    self._stream,
                    state.confirmed_flush,
                    self._decoder_of,
                    streamed,
                    hold_bytes=limits.max_batch_bytes // 4,
                    part_bytes=limits.max_batch_bytes // 2,  # one is built while two are in flight
                    refused=(TypeNotSupported, NameCollision),
                )
                self._in_parts.clear()
                follower = Follower(
                    self._dsn,
                    limits,
                    stream,
                    assembler,
                    writer,
                    applier,
                    copies,
                    wishes,
                    watch,
                    Replays(self._dsn, self._catalogue, publication, writer, watch, self._tell),
                    witness.check,
                    self._count,
                    self._part_written,
                )
                self._wishes = wishes
                try:
                    follower.follow(lambda: self._done(writer))
                finally:
                    self._wishes = None
            with suppress(SourceUnreachable):  # the next start looks, too
                watch.look()
                watch.keep()

    def _copies(self, writer: LakeWriter, stopped: Callable[[], bool] | None = None) -> Copies:
        publication = self._config.stream.publication_name
        workers = self._config.capture.copy_workers
        return Copies(
            self._dsn, self._stream, publication, writer, workers, self._copying, stopped or self._stop.is_set
        )

    def _close_the_hole(self, writer: LakeWriter, copies: Copies) -> None:
        """No stream fills what lies between slot and lake: a person has accepted that, or it is raised."""
        reached = writer.reached
        if reached is None:  # nothing to carry on: a slot that is no use to anybody goes
            drop_lost_slot(self._dsn, self._config.stream.slot_name)
            writer.remember_source(identify(self._dsn).remembered())
            return
        identity, state, hole = look_for_hole(self._config, reached, writer.source)
        if hole is not None:
            if not is_accepted(writer, reached):
                raise hole
            Watch(self._dsn, self._config.stream.publication_name, writer).start_over()
            recover(self._config, writer, copies, reached, identity, state)
            if self._until is not None:  # asked for before the log passed the lake's end, it may lie far back
                self._until = max(self._until, beat(self._dsn))
        writer.remember_source(identity.remembered())
        end_gaps(writer, self._gap_ended)

    def _opened(self, stream: ReplicationStream) -> ReplicationStream:
        """Start it; a slot still held by a process that has just died is waited for."""
        patience = time.monotonic() + _SLOT_PATIENCE_S
        while True:
            try:
                return stream.start()
            except SlotInUse as error:
                if time.monotonic() > patience or self._stop.wait(0.5):
                    raise
                self._tell(Waiting(str(error)))

    def _decoder_of(self, message: RelationMessage) -> RelationDecoder:
        relation = self._catalogue.describe(message)
        TableColumns.of(relation)  # a name that the lake can't hold is found before anything is decoded
        return decoder_of(PublishedTable(relation, None), self._catalogue)

    def _count(self, batch: Batch) -> None:
        self._report.transactions += batch.transactions.num_rows
        for changes in batch.tables:
            self._in_parts[str(changes.relation.name)] += changes.rows.num_rows
        with self._counting:
            for table, rows in self._in_parts.items():
                self._report.count(table, rows)
        if self._in_parts:
            self._tell(Durable(batch.end_lsn, batch.transactions.num_rows, self._in_parts.total()))
            self._in_parts.clear()

    def _part_written(self, part: Part) -> None:
        for changes in part.tables:
            self._in_parts[str(changes.relation.name)] += changes.rows.num_rows
        self._tell(Replaying(part.commit_lsn, self._in_parts.total()))

    def _copying(self, event: Progress) -> None:
        if isinstance(event, Copied):
            with self._counting:
                self._report.count(str(event.table), event.rows)
        self._tell(event)

    def _gap_ended(self, gap: Gap) -> None:
        self._report.gaps.append(gap_json(gap))
        self._tell(GapFound(gap.table, gap.from_lsn, gap.to_lsn, gap.reason))

    def _cut_written(self, cut: Cut) -> None:
        self._tell(CutWritten(cut.cut_lsn, cut.source_time))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try again, ever more slowly, while the source or the lake is away. Raises _Stopped when told to stop."""
        pause_s = 0.25
        while True:
            began = time.monotonic()
            try:
                return attempt()
            except BinaryUnreadable as error:
                # A column of such a type joined the publication in mid-stream; some of its changes may lie behind us
                # even after it has left again, so text stays until the next start.
                self._as_text = True
                self._tell(Waiting(f"{error}; streaming as text from here on"))
            except (SourceUnreachable, LakeUnreachable) as error:
                if time.monotonic() - began > _LONGEST_PAUSE_S:
                    pause_s = 0.25  # it had worked for a while
                self._tell(Waiting(f"{error}; again in {pause_s:g} s"))
                if self._stop.wait(pause_s):
                    raise _Stopped from error
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
