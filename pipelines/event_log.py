"""Reads what a capture process tells (``rireki capture --json``) from its log, as it is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdc.lsn import Lsn

_PAUSE_S = 0.05  # a file can't be waited for portably; this is far below what a cut takes


class EventLog:
    """Follows a log from its present end, across restarts of whoever writes it, and remembers the last cut."""

    def __init__(self, path: Path, on_event: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._on_event = on_event
        self._changed = threading.Condition()
        self._cut: Lsn | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="events", daemon=True)
        self._thread.start()

    def wait_for_cut(self, lsn: Lsn, timeout_s: float) -> bool:
        """Whether readers see everything up to ``lsn`` by then."""
        with self._changed:
            return self._changed.wait_for(lambda: self._cut is not None and self._cut >= lsn, timeout_s)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _follow(self) -> None:
        rest = b""
        while not self._closing.wait(_PAUSE_S):
            rest += self._new_bytes()
            *lines, rest = rest.split(b"\n")
            for line in lines:
                self._read(line)

    def _new_bytes(self) -> bytes:
        if not self._path.exists():
            return b""
        if self._path.stat().st_size < self._offset:  # set aside at a restart, and begun anew
            self._offset = 0
        with self._path.open("rb") as log:
            log.seek(self._offset)
            found = log.read()
        self._offset += len(found)
        return found

    def _read(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:  # a library's own words
            return
        if not isinstance(event, dict):
            return
        if event.get("event") == "cut":
            with self._changed:
                self._cut = Lsn.parse(event["lsn"])
                self._changed.notify_all()
        self._on_event(event)
