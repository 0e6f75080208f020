"""Copying tables side by side under one snapshot: part by part into files, then one commit for each table.

Each worker holds one connection to the source and one piece of a part in memory. A part that breaks off is begun again
for as long as the snapshot lives: what is lost is seconds of work. The snapshot dies with its own connection, and with
this process; then tables that are done stay done, and those at hand begin anew (docs/adr/0016).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cdc.batch import TableCopy
from cdc.catalogue import Catalogue, PublishedTable
from cdc.copy import CopyPart, Snapshot, beginning, copied_pieces, copy_parts, exported_snapshot
from cdc.errors import SnapshotGone, SourceUnreachable
from lakehouse.changelog import StagedCopy
from lakehouse.errors import CopyOvertaken, LakeError, LakeUnreachable
from lakehouse.writer import LakeWriter
from pipelines.progress import Copied, Copying, OnProgress, Waiting

_LONGEST_PAUSE_S = 30.0

_T = TypeVar("_T")


class _Abandoned(Exception):
    """Told to stop, or another part has failed."""


@dataclass(slots=True)
class _Table:
    """How far one table is."""

    published: PublishedTable
    parts: Sequence[CopyPart]
    done: int = 0
    rows: int = 0
    staged: list[StagedCopy] = field(default_factory=list)
    shapes: list[TableCopy] = field(default_factory=list)  # of what is staged, without the rows


class Copier:
    """Copies published tables into the lake, ``workers`` parts at a time."""

    def __init__(
        self,
        dsn: str,
        stream: str,
        catalogue: Catalogue,
        writer: LakeWriter,
        workers: int,
        tell: OnProgress,
        stopped: Callable[[], bool],
    ) -> None:
        self._dsn, self._stream, self._catalogue, self._writer = dsn, stream, catalogue, writer
        self._workers, self._tell, self._stopped = workers, tell, stopped
        self._failed = threading.Event()
        self._lock = threading.Lock()  # how far tables are

    def copy(self, tables: Sequence[PublishedTable], *, ends_gap: bool = False) -> None:
        """All under one snapshot: the lake's first cut is then one moment of the source. Returns early once stopped.

        Raises what the source and the lake raise; that one of them is away, only once the snapshot has gone.
        """
        with exported_snapshot(self._dsn) as snapshot:
            work = [_Table(table, copy_parts(self._dsn, table)) for table in tables]
            threads = ThreadPoolExecutor(self._workers, thread_name_prefix="copy")
            try:
                futures = [
                    threads.submit(self._copy_part, table, part, snapshot, ends_gap)
                    for table in work
                    for part in table.parts
                ]
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._failed.set()  # for those that still run; none does where all went well
                threads.shutdown(wait=True, cancel_futures=True)
                self._take_back(work)
            for future in futures:
                if not future.cancelled() and not isinstance(error := future.exception(), _Abandoned) and error:
                    raise error

    def _copy_part(self, table: _Table, part: CopyPart, snapshot: Snapshot, ends_gap: bool) -> None:
        shape, rows, staged = self._patiently(lambda: self._staged(table, part, snapshot))
        name = table.published.relation.name
        with self._lock:
            table.done += 1
            table.rows += rows
            table.staged += staged
            table.shapes += shape
            is_whole = table.done == len(table.parts)
        self._tell(Copying(name, table.done, len(table.parts), table.rows))
        if is_whole:
            marker = beginning(self._stream, table.published, snapshot, table.shapes)
            self._patiently(lambda: self._writer.append_copy(marker, table.staged, ends_gap=ends_gap))
            table.staged = []
            self._tell(Copied(name, table.rows, snapshot.lsn))

    def _patiently(self, attempt: Callable[[], _T]) -> _T:
        """Try again, ever more slowly, while the source or the lake is away and the snapshot lives."""
        pause_s = 0.25
        while True:
            try:
                return attempt()
            except (SnapshotGone, CopyOvertaken):
                raise
            except (SourceUnreachable, LakeUnreachable) as error:
                self._tell(Waiting(f"{error}; this part of a copy again in {pause_s:g} s"))
                if self._failed.wait(pause_s) or self._stopped():
                    raise _Abandoned from error
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _staged(
        self, table: _Table, part: CopyPart, snapshot: Snapshot
    ) -> tuple[list[TableCopy], int, list[StagedCopy]]:
        staged: list[StagedCopy] = []
        try:
            shape, rows = self._stage(table, part, snapshot, staged)
        except BaseException:
            self._discard(table, staged)
            raise
        return shape, rows, staged

    def _stage(
        self, table: _Table, part: CopyPart, snapshot: Snapshot, staged: list[StagedCopy]
    ) -> tuple[list[TableCopy], int]:
        """The part's shape and how many rows it has. ``staged`` is filled as files are written."""
        shapes: list[TableCopy] = []
        rows = 0
        pieces = copied_pieces(
            self._dsn, self._stream, table.published, self._catalogue, snapshot, part, self._is_abandoned
        )
        for piece in pieces:
            staged.append(self._writer.stage_copied(piece))
            rows += piece.rows.num_rows
            shapes = [replace(piece, rows=piece.rows.slice(0, 0))]  # text columns only ever join
        if self._is_abandoned():
            raise _Abandoned
        return shapes, rows

    def _is_abandoned(self) -> bool:
        return self._failed.is_set() or self._stopped()

    def _discard(self, table: _Table, staged: Sequence[StagedCopy]) -> None:
        with suppress(LakeError):  # what stays is in no version, and goes with the next clean-up
            self._writer.discard_copied(table.published.relation.name, staged)

    def _take_back(self, work: Sequence[_Table]) -> None:
        for table in work:
            if table.staged:
                self._discard(table, table.staged)
