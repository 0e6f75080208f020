"""Copies that somebody has asked for, made beside the stream, which goes on meanwhile.

A wish comes through the stream (docs/adr/0004), and PostgreSQL keeps it until it is granted: nothing behind its commit
is confirmed before. So a crash in between has it sent again; a table with a younger copy has been served.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from cdc.context import ResyncRequest
from cdc.lsn import Lsn
from cdc.slot import beat
from lakehouse.writer import LakeWriter
from pipelines.copies import Copies


class Wishes:
    """Use as a context manager: leaving it takes back what isn't whole. ``leaving`` tells ``copies`` to stop."""

    def __init__(self, dsn: str, writer: LakeWriter, copies: Copies, leaving: threading.Event) -> None:
        self._dsn, self._writer, self._copies, self._leaving = dsn, writer, copies, leaving
        self._lock = threading.Lock()
        self._open: list[ResyncRequest] = []  # in commit order
        self._error: BaseException | None = None
        self._serving = ThreadPoolExecutor(1, thread_name_prefix="wishes")

    def __enter__(self) -> Wishes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._serving.shutdown(wait=True, cancel_futures=True)

    def take(self, requests: Iterable[ResyncRequest]) -> None:
        """Serve these next, one after the other."""
        for request in requests:
            with self._lock:
                self._open.append(request)
            self._serving.submit(self._serve, request)

    def confirmable(self, lsn: Lsn) -> Lsn:
        """Up to where PostgreSQL may forget: to ``lsn``, or to the oldest wish that is still open."""
        with self._lock:
            return min(lsn, self._open[0].commit_lsn) if self._open else lsn

    def is_settled(self, cut_at: Lsn | None) -> bool:
        """Every wish is granted, and readers see it."""
        with self._lock:
            if self._open:
                return False
        copied = [at for name in self._writer.tables() if (at := self._writer.copied_at(name)) is not None]
        return not copied or (cut_at is not None and max(copied) <= cut_at)

    def raise_failure(self) -> None:
        """Raise what kept a wish from being granted, if anything did."""
        if self._error is not None:
            raise self._error

    def _serve(self, request: ResyncRequest) -> None:
        if self._error is not None:
            return
        try:
            if self._copies.serve(request):
                beat(self._dsn)  # gives a source at rest something behind the copy to pass
                with self._lock:
                    self._open.remove(request)
        except BaseException as error:
            self._error = error
