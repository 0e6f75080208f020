"""Processes that outlived whoever started them: recognised for certain before they are signalled.

A pid alone proves nothing: the kernel hands it out again. A process is the same one if it also started at the same
moment of the same boot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A pid and the moment at which it started, in whatever notation this system has for it."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """None when no such process runs; one that has ended and only waits to be collected doesn't."""
        if _PROC.joinpath("self/stat").exists():
            try:
                fields = _PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
            except OSError:
                return None
            state, ticks_since_boot = fields[0], fields[19]  # proc(5): fields 3 and 22
            boot = _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
            return None if state in "ZX" else cls(pid, f"{boot} {ticks_since_boot}")
        command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
        state, _, started = subprocess.run(command, capture_output=True, text=True).stdout.strip().partition(" ")
        return None if not state or state.startswith("Z") else cls(pid, started.strip())

    def alive(self) -> bool:
        return ProcessIdentity.of(self.pid) == self

    def end(self, stop_signal: int, grace_s: float) -> None:
        """Stop its process group: ``stop_signal``, then SIGKILL after ``grace_s`` seconds. Nothing if it has ended."""
        for number, patience_s in ((stop_signal, grace_s), (signal.SIGKILL, 10.0)):
            if not self.alive():
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(os.getpgid(self.pid), number)
            deadline = time.monotonic() + patience_s
            while self.alive() and time.monotonic() < deadline:
                time.sleep(0.02)


def command_line(pid: int) -> str:
    """What the process was started with; empty when it doesn't run. Readable for every user's processes."""
    if _PROC.joinpath("self/stat").exists():
        try:
            return _PROC.joinpath(str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
