"""Merges small files while the stream goes on, in a thread beside it: the writer of a table is the only one who may.

It asks for nothing and is asked by nobody: what is due shows in the tables themselves, every few seconds. A store that
is away is waited for; whatever else goes wrong here costs speed and no answer, so it is told and tried again later.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from cdc.errors import RirekiError
from lakehouse.errors import LakeUnreachable
from lakehouse.writer import LakeWriter

LOOK_EVERY_S = 5.0  # sixteen files of a second each are then never many more
_AFTER_FAILURE_S = 300.0

_log = logging.getLogger(__name__)


class Housekeeping:
    """Use as a context manager. Leaving it finishes the merge at hand and starts no other."""

    def __init__(self, writer: LakeWriter, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._writer = writer
        self._look_every_s = look_every_s
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def __enter__(self) -> Housekeeping:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = 0.0  # a drain may be over before the second look
        while not self._leaving.wait(pause_s):
            pause_s = self._look_every_s
            try:
                self._writer.compact(self._leaving.is_set)
            except LakeUnreachable:
                continue  # the stream itself says so, and waits
            except RirekiError as error:
                pause_s = _AFTER_FAILURE_S
                _log.warning("small files stay as they are for now: %s; next: %s", error, error.fix)
            except Exception:
                pause_s = _AFTER_FAILURE_S
                _log.exception("small files stay as they are for now")
