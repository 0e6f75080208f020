"""Children that are started again when they end by themselves, ever more slowly while they keep ending."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cdc.errors import RirekiError
from infra.program import Program

_SHORTEST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0  # who ran that long had recovered


class Supervised:
    """One child under watch. Raises whatever the first start raises; later ones are only told.

    ``start`` begins it and waits until it is ready; it is called again, from a thread of ours, for each restart.
    """

    def __init__(self, name: str, start: Callable[[], Program], tell: Callable[[str], None]) -> None:
        self.name = name
        self._start = start
        self._tell = tell
        self._stopping = threading.Event()
        self._changing = threading.Lock()  # who starts or stops the program
        self._program = start()
        self._watch = threading.Thread(target=self._keep, name=f"watch-{name}", daemon=True)
        self._watch.start()

    @property
    def program(self) -> Program:
        """The child as of now."""
        return self._program

    def stop(self) -> None:
        """Stop it and don't start it again. May be repeated."""
        self._stopping.set()
        with self._changing:
            self._program.stop()
        self._watch.join()

    def _keep(self) -> None:
        pause_s = _SHORTEST_PAUSE_S
        while True:
            began = time.monotonic()
            code = self._program.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > _STEADY_S:
                pause_s = _SHORTEST_PAUSE_S
            log = self._program.log
            self._tell(f"{self.name} ended with exit code {code}; again in {pause_s:g} s. Its words are in {log}")
            if not self._again(pause_s):
                return
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _again(self, pause_s: float) -> bool:
        while not self._stopping.wait(pause_s):
            with self._changing:
                if self._stopping.is_set():
                    return False
                self._program.stop()  # what is left of the last one
                try:
                    self._program = self._start()
                except RirekiError as error:
                    self._tell(f"{self.name} doesn't start: {error}")
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    continue
            self._tell(f"{self.name} runs again")
            return True
        return False
