"""A position in the write-ahead log, and the only order that this code base uses."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"\A([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})\Z")


@dataclass(frozen=True, slots=True, order=True)
class Lsn:
    """A byte position in the write-ahead log; prints as ``16/B374D848``.

    A transaction's identity in order is its *commit LSN*: the start of its commit record, as pgoutput
    reports it. Changes inside one transaction are told apart by their zero-based ordinal, so
    ``(commit_lsn, ordinal)`` orders everything.
    """

    value: int  # 0 <= value < 2**63: the lake stores it as a long

    def __post_init__(self) -> None:
        if not 0 <= self.value < 1 << 63:
            raise ValueError(f"an LSN lies in 0 … 2**63-1, got {self.value}")

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """Read PostgreSQL's notation, e.g. ``16/B374D848``. Raises ValueError on anything else."""
        match = _TEXT.match(text)
        if match is None:
            raise ValueError(f"not an LSN: {text!r}; one looks like 16/B374D848")
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self.value >> 32:X}/{self.value & 0xFFFFFFFF:X}"

    def before(self) -> Lsn:
        """The position just before this one: includes every commit that started earlier."""
        return Lsn(max(0, self.value - 1))
