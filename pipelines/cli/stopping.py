"""Being told to stop: finish what is at hand, or leave it, within seconds.

A store that doesn't answer keeps threads waiting for minutes, and a signal handler of Python waits for the main thread.
So a thread of ours hears of the signal, and ends the process if it hasn't ended by itself. Nothing is lost by that:
what isn't committed comes again.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from pipelines.cli.console import DONE

GRACE_S = 4.0  # a second less than what supervisors and people are promised


class Stop:
    """Use as a context manager around the work. SIGTERM and Ctrl-C set ``asked``; ``leave`` is called when the process
    has to end in the middle.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self.asked = threading.Event()
        self._leave = leave
        self._ended = threading.Event()
        self._heard, self._told = socket.socketpair()
        self._told.setblocking(False)

    def __enter__(self) -> Stop:
        threading.Thread(target=self._listen, name="stop", daemon=True).start()
        self._wakeup_before = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        # Handlers have to be there for the wake-up.
        self._before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._told.close()  # ends the thread, which reads nothing then

    def _listen(self) -> None:
        with self._heard:
            self._heard.recv(1)
        self.asked.set()
        if not self._ended.wait(GRACE_S):
            self._leave()
            os._exit(DONE)
