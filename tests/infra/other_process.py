"""Another process of ours, which a test may kill: it runs Python, reports one line, and waits."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import TracebackType


class OtherProcess:
    """``body`` runs with ``folder`` locked and calls ``report(text)`` once; then it waits for the test to end it."""

    def __init__(self, folder: object, body: str) -> None:
        script = (
            "import os, sys\n"
            "from infra.state import StateFolder\n"
            "def report(text): print(text, flush=True)\n"
            "with StateFolder(sys.argv[1]) as folder:\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n"
            "    sys.stdin.read()\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.reported = self._process.stdout.readline().strip()

    def kill(self) -> None:
        """As ``kill -9`` does it: without a chance to clean up."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> OtherProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
