"""One supervised child: its own session, a log file, readiness, and a stop that always ends.

    with Program.start(folder, "directory", [sys.executable, "-m", "uvicorn", …], ready=http("http://…/health")) as it:
        …

Between us and the child runs :mod:`infra.leash`: if we are killed, it stops the child.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from infra import leash
from infra.account import Account, environment_for
from infra.errors import ProgramFailed
from infra.ports import LOOPBACK
from infra.processes import ProcessIdentity
from infra.state import StateFolder

_LOG_KEPT_BYTES = 10_000_000
_LINES_SHOWN = 15

Probe = Callable[[], bool]


def tcp(port: int) -> Probe:
    """Ready when something accepts connections on the loopback port."""

    def probe() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return True
        return False

    return probe


def http(url: str) -> Probe:
    """Ready when a GET answers with 2xx or 3xx. Never goes through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def probe() -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError), opener.open(url, timeout=2):
            return True
        return False

    return probe


@dataclass
class Program:
    """A running child. Keep the object: a forgotten child is stopped."""

    name: str
    pid: int  # the child's own; it leads its process group
    log: Path
    _log_from: int = field(repr=False)  # bytes of earlier runs
    _leash: subprocess.Popen[bytes] = field(repr=False)
    _channel: socket.socket = field(repr=False)
    _identity: ProcessIdentity | None = field(repr=False)
    _forget: Callable[[], None] = field(repr=False)
    _stop_signal: int = field(repr=False)
    _stop_within_s: float = field(repr=False)

    @classmethod
    def start(
        cls,
        folder: StateFolder,
        name: str,
        command: Sequence[str | Path],
        *,
        ready: Probe | None = None,
        ready_within_s: float = 30,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        account: Account | None = None,
        stop_signal: int = signal.SIGTERM,
        stop_within_s: float = 10,
    ) -> Program:
        """Start it and wait until ``ready`` says so.

        ``name`` is unique in the folder; the log is ``logs/<name>.log``. ``env`` is added to our own environment, of
        which another ``account`` gets no more than PATH and the locale.
        Raises: ProgramFailed, with the log's last lines, when it can't be executed, ends before it is ready, or isn't
        ready in time; it has been stopped then.
        """
        if not folder.locked:
            raise RuntimeError(f"start {name} inside `with StateFolder(…)`: an unlocked folder may be another stack's")
        log = folder.log(name)
        if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        log_from = log.stat().st_size if log.exists() else 0
        ours, theirs = socket.socketpair()
        uid, gid = (account.uid, account.gid) if account else (-1, -1)
        words = [stop_signal, stop_within_s, uid, gid, *command]
        with log.open("ab") as out, theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, *map(str, words)],
                stdin=theirs.fileno(),
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**environment_for(account), **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        with ours.makefile() as report:
            reported = report.readline().strip()
        if not reported.isdigit():
            process.wait()
            raise ProgramFailed(f"{command[0]} can't be executed: {reported.lstrip('!')}", subject=name)
        identity = ProcessIdentity.of(int(reported))
        forget = folder.remember_running(name, identity, stop_signal) if identity else (lambda: None)
        program = cls(name, int(reported), log, log_from, process, ours, identity, forget, stop_signal, stop_within_s)
        try:
            program._await(ready, ready_within_s)
        except BaseException:
            program.stop()
            raise
        return program

    def running(self) -> bool:
        return self._leash.poll() is None

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code, 128 + n for signal n. Raises TimeoutError when it still runs after ``timeout_s`` seconds."""
        try:
            return self._leash.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} still runs") from error

    def check(self) -> None:
        """Raises ProgramFailed, with the log's last lines, when it has ended."""
        if not self.running():
            raise ProgramFailed(
                f"ended with exit code {self._leash.returncode}\n{self.last_lines()}", subject=self.name
            )

    def stop(self) -> None:
        """Signal its process group, SIGKILL if it outlives its time, and return once it is gone. May be repeated."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)  # a fork of ours may hold a copy: closing alone wouldn't be seen
        self._channel.close()
        self._leash.wait()
        if self._identity is not None:  # somebody may have killed the leash
            self._identity.end(self._stop_signal, self._stop_within_s)
        self._forget()

    def last_lines(self) -> str:
        """The end of what this run has logged, for an error message."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_from, self.log.stat().st_size - 8_192))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-_LINES_SHOWN:])

    def _await(self, ready: Probe | None, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        pause_s = 0.01
        while ready is not None and not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ProgramFailed(f"not ready after {within_s:.0f} s\n{self.last_lines()}", subject=self.name)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.2)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
