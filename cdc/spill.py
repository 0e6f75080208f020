"""Raw messages of one transaction that may yet be rolled back, kept in a file that has no name.

A file that nobody else can open vanishes with the process, so nothing is left to clean up after a crash; the server
sends the transaction again from its beginning. The first megabyte stays in memory: a server that is short of memory
sends small transactions ahead, too.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir

import numpy as np

from cdc import scan
from cdc.errors import NoRoomToSpill
from cdc.libpq import whole_frames
from cdc.messages import Messages

_IN_MEMORY_BYTES = 1 << 20
_CHUNK_BYTES = 4 << 20  # read back at once, unless one message is larger


class Spill:
    """Written while the transaction runs, read once when it has committed. Raises NoRoomToSpill."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._rolled_back = array("I")  # ids of subtransactions
        self.byte_count = 0
        with self._said():
            self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(folder or gettempdir()))  # noqa: SIM115

    def write(self, messages: Messages) -> None:
        with self._said():
            self._file.write(messages.content.data)
        self.byte_count += len(messages.content)

    def roll_back(self, subtransaction: int) -> None:
        """Leave out what belongs to it."""
        self._rolled_back.append(subtransaction)

    def close(self) -> None:
        # What it still had to write no longer matters.
        with contextlib.suppress(OSError):
            self._file.close()

    def replay(self) -> Iterator[Messages]:
        """The messages that remain, in order, as a server sends them of a transaction that has ended."""
        rolled_back = np.unique(np.asarray(self._rolled_back, np.int64))
        for framed, count in self._framed():
            kept = np.empty(len(framed), np.uint8)
            filled, remaining = scan.without_xids(framed, count, rolled_back, kept)
            if remaining:
                yield Messages(kept[:filled], remaining)

    def _framed(self) -> Iterator[tuple[scan.Bytes, int]]:
        with self._said():
            self._file.seek(0)
        size, carried = _CHUNK_BYTES, np.empty(0, np.uint8)
        while True:
            buf = np.empty(size, np.uint8)
            buf[: len(carried)] = carried
            with self._said():
                read = self._file.readinto(buf[len(carried) :].data)
            filled = buf[: len(carried) + read]
            count, end = whole_frames(filled)
            if count:
                yield filled[:end], count
            elif not read:
                return
            carried = filled[end:]
            # A message that doesn't fit: as much again, until it does.
            size = max(_CHUNK_BYTES, 2 * len(carried))

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            subject = str(self._folder or gettempdir())
            raise NoRoomToSpill(f"{error.strerror or error}", subject=subject) from error
