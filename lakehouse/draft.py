"""The next version of a table while changes are being applied to it: nothing of it is in the log yet.

Changes come in pieces, so that a transaction of any size fits into memory; the version they make is one. What earlier
pieces have written are files like any other to the later ones: they are looked up in and rows of them are hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyroaring import BitMap64

from lakehouse.hide import hide
from lakehouse.log import DeltaLog
from lakehouse.table_state import Action, LiveFile


class Draft:
    """``vector`` says which rows of a live file are hidden already."""

    def __init__(self, log: DeltaLog, vector: Callable[[LiveFile], BitMap64]) -> None:
        self._log = log
        self._vector = vector
        self.cleared = False  # of what the table held before
        self.written: dict[str, LiveFile] = {}
        self.hidden: dict[str, BitMap64] = {}  # all hidden rows, of each file that lost rows in this version

    def files(self) -> list[LiveFile]:
        """Those of the last version first."""
        live = [] if self.cleared else list(self._log.state.files.values())
        return [*live, *self.written.values()]

    def hidden_in(self, file: LiveFile) -> BitMap64:
        if file.path in self.hidden:
            return self.hidden[file.path]
        return BitMap64() if file.path in self.written else self._vector(file)

    def add(self, files: Iterable[LiveFile]) -> None:
        self.written |= {file.path: file for file in files}

    def hide(self, path: str, rows: BitMap64) -> None:
        file = self.file(path)
        self.hidden[path] = self.hidden_in(file) | rows

    def file(self, path: str) -> LiveFile:
        return self.written.get(path) or self._log.state.files[path]

    def replace(self, path: str, new: LiveFile) -> None:
        """``new`` holds the rows of the file at ``path`` that aren't hidden."""
        if self.written.pop(path, None) is None:
            self.hidden[path] = BitMap64(range(self.file(path).row_count))  # nothing of it is left: it goes
        else:
            del self.hidden[path]
            self._log.store.remove(f"{self._log.path}/{path}")
        self.written[new.path] = new

    def clear(self) -> None:
        """The table is emptied, of what this version has added, too."""
        for path in self.written:
            self._log.store.remove(f"{self._log.path}/{path}")
        self.cleared = True
        self.written, self.hidden = {}, {}

    def actions(self) -> list[Action]:
        """Of files: what makes it the next version. Writes the vector file if one is needed, so commit them next."""
        before = [file.remove() for file in self._log.state.files.values()] if self.cleared else []
        hiding, _ = hide(self._log, self.hidden, self.written)
        return [*before, *hiding, *(file.add() for path, file in self.written.items() if path not in self.hidden)]
