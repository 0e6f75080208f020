"""Replication messages in one buffer, in order of arrival: each pgoutput payload behind its length."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cdc import scan
from cdc.libpq import FRAME, frame_starts
from cdc.scan import Bytes, Ints


@dataclass(frozen=True)
class Messages:
    """``count`` messages. The buffer is read, never written, and may be shared with later ones."""

    content: Bytes
    count: int

    def __post_init__(self) -> None:
        # Kernels are compiled once more for an array that may be written.
        self.content.flags.writeable = False

    @classmethod
    def of(cls, payloads: Iterable[bytes]) -> Messages:
        framed = [struct.pack("<I", len(payload)) + payload for payload in payloads]
        return cls(np.frombuffer(b"".join(framed), np.uint8), len(framed))

    @classmethod
    def joined(cls, parts: Sequence[Messages]) -> Messages:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls(np.empty(0, np.uint8), 0)
        return cls(np.concatenate([part.content for part in parts]), sum(part.count for part in parts))

    @cached_property
    def starts(self) -> Ints:
        """Where each message's payload begins."""
        out = np.empty(self.count, np.int64)
        frame_starts(self.content, out)
        return out

    @cached_property
    def kinds(self) -> Bytes:
        """First byte of each payload: what it is."""
        kinds: Bytes = scan.kinds_of(self.content, self.starts)
        return kinds

    def part(self, first: int, end: int) -> Messages:
        """Messages ``first`` to ``end``, the latter not included."""
        if first == 0 and end == self.count:
            return self
        if first >= end:
            return Messages(self.content[:0], 0)
        begin = int(self.starts[first]) - FRAME
        stop = len(self.content) if end >= self.count else int(self.starts[end]) - FRAME
        return Messages(self.content[begin:stop], end - first)

    def payload(self, number: int) -> bytes:
        return self.part(number, number + 1).content[FRAME:].tobytes()

    def __len__(self) -> int:
        return self.count
