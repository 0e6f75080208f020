"""Brings every current table to the newest durable position, in a thread beside the stream.

While one cut is being applied, newer positions may arrive: only the newest counts, so a slow store makes cuts rarer,
never the stream slower. While the stream is behind its source a cut waits: it would take the cores that the
stream needs to catch up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType

from cdc.lsn import Lsn
from lakehouse.cuts import Cut
from lakehouse.writer import LakeWriter

LONGEST_WAIT_S = 5.0  # how old the newest cut may become for the sake of catching up


class Applier:
    """Use as a context manager. Leaving it finishes the cut at hand and starts no other."""

    def __init__(
        self, writer: LakeWriter, on_cut: Callable[[Cut], None], *, longest_wait_s: float = LONGEST_WAIT_S
    ) -> None:
        self._writer = writer
        self._on_cut = on_cut
        self._longest_wait_s = longest_wait_s
        self._wanted: tuple[Lsn, datetime] | None = None
        self._may_wait = False  # more changes are on their way
        self._cut_at = time.monotonic()  # the last cut, or the beginning
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

    def reach(self, lsn: Lsn, source_time: datetime, *, is_behind: bool = False) -> None:
        """Ask for a cut before a durable position: the next transaction may start its commit right there.

        ``is_behind``: more is on its way, so the cut may wait for it: until ``catch_up``, or a position behind which
        nothing waits, or half of the tail's memory is taken, or the last cut is ``longest_wait_s`` old.
        """
        with self._changed:
            self._wanted = (lsn.before(), source_time)
            self._may_wait = is_behind
            self._changed.notify_all()

    def catch_up(self) -> None:
        """Nothing more is on its way: a cut that waits needn't."""
        with self._changed:
            if self._may_wait:
                self._may_wait = False
                self._changed.notify_all()

    def raise_failure(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (wanted := self._next()) is not None:
                cut = self._writer.advance(*wanted)
                self._cut_at = time.monotonic()
                if cut is not None:
                    self._on_cut(cut)
        except BaseException as error:
            self._error = error

    def _next(self) -> tuple[Lsn, datetime] | None:
        """The position to cut at, once it is time; None when leaving."""
        with self._changed:
            while not self._leaving:
                wait_s = self._wait_s()
                if self._wanted is not None and not wait_s:
                    wanted, self._wanted = self._wanted, None
                    return wanted
                self._changed.wait(wait_s)
        return None

    def _wait_s(self) -> float | None:
        """How long the wanted cut may still wait for others; None if none is wanted."""
        if self._wanted is None:
            return None
        if not self._may_wait or self._writer.must_cut_soon:
            return 0.0
        return max(0.0, self._cut_at + self._longest_wait_s - time.monotonic())
