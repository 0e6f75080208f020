"""Brings every current table to the newest durable position, in a thread beside the stream.

While one cut is being applied, newer positions may arrive: only the newest counts, so a slow store makes cuts rarer,
never the stream slower.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType

from cdc.lsn import Lsn
from lakehouse.cuts import Cut
from lakehouse.writer import LakeWriter


class Applier:
    """Use as a context manager. Leaving it finishes the cut at hand and starts no other."""

    def __init__(self, writer: LakeWriter, on_cut: Callable[[Cut], None]) -> None:
        self._writer = writer
        self._on_cut = on_cut
        self._wanted: tuple[Lsn, datetime] | None = None
        self._changed = threading.Condition()
        self._leaving = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="apply", daemon=True)

    def __enter__(self) -> Applier:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        self._thread.join()

    def reach(self, lsn: Lsn, source_time: datetime) -> None:
        """Ask for a cut before a durable position: the next transaction may start its commit right there."""
        with self._changed:
            self._wanted = (lsn.before(), source_time)
            self._changed.notify_all()

    def raise_failure(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._leaving or self._wanted is not None)
                    if self._leaving:
                        return
                    assert self._wanted is not None
                    (lsn, source_time), self._wanted = self._wanted, None
                cut = self._writer.advance(lsn, source_time)
                if cut is not None:
                    self._on_cut(cut)
        except BaseException as error:
            self._error = error
