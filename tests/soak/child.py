"""The capture process of a round, forked from a server that has everything imported and every kernel loaded.

A real process, so that ``kill -9`` is one; forked, because starting Python anew would cost most of a round.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

from pipelines import config as configuration
from pipelines import failpoints

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.soak.warm"])


class Child:
    """One life of the capture process. ``until`` (an LSN's text): drain to there and end."""

    def __init__(self, config: Path, log: Path, *, failpoint: str = "", until: str = "", **environment: str) -> None:
        self.log = log
        self._process = _SERVER.Process(
            target=_run, args=(str(config), str(log), failpoint, until, environment), daemon=True
        )
        self._process.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 when it was killed."""
        return self._process.exitcode

    def send(self, number: int) -> None:
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout_s: float) -> int | None:
        self._process.join(timeout_s)
        return self.exit_code

    def words(self) -> str:
        """The end of what it said."""
        return self.log.read_text()[-6_000:] if self.log.exists() else ""


def _run(config: str, log: str, failpoint: str, until: str, environment: dict[str, str]) -> None:
    from cdc.lsn import Lsn
    from pipelines.capture import Capture
    from pipelines.progress import as_sentence

    with Path(log).open("a") as words:
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
    os.environ.update(environment)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    failpoints.arm(failpoint)
    print(f"--- pid {os.getpid()} {failpoint} {until}", flush=True)
    capture = Capture(configuration.load(Path(config)), on_progress=lambda event: print(as_sentence(event), flush=True))
    if until:
        capture.drain(Lsn.parse(until), stop)
    else:
        capture.run(stop)
    sys.stdout.flush()
