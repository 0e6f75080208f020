"""The scanner's plain-Python twin: slow, obvious, and written from the protocol's documentation alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    oid: int
    op: str  # insert, update, delete, truncate
    new: tuple[bytes | str, ...] | None  # a value's bytes, or "null" / "unchanged"
    old: tuple[bytes | str, ...] | None
    commit_lsn: int
    ordinal: int
    xid: int
    committed_at: int


class Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(">" + form, self.content, self.at)
        self.at += struct.calcsize(">" + form)
        return int(value)

    def raw(self, n: int) -> bytes:
        self.at += n
        return self.content[self.at - n : self.at]

    def row(self) -> tuple[bytes | str, ...]:
        values: list[bytes | str] = []
        for _ in range(self.take("H")):
            kind = self.raw(1)
            values.append({b"n": "null", b"u": "unchanged"}.get(kind) or self.raw(self.take("I")))
        return tuple(values)


def changes(messages: list[bytes]) -> list[Change]:
    found: list[Change] = []
    commit_lsn = committed_at = xid = ordinal = 0
    for message in messages:
        reader = Reader(message)
        kind = reader.raw(1)
        if kind == b"B":
            commit_lsn, committed_at, xid, ordinal = reader.take("Q"), reader.take("q"), reader.take("I"), 0
        elif kind in (b"I", b"U", b"D"):
            oid, old, new = reader.take("I"), None, None
            marker = reader.raw(1)
            if marker in (b"K", b"O"):
                old = reader.row()
                marker = reader.raw(1) if kind == b"U" else b""
            if marker == b"N":
                new = reader.row()
            op = {b"I": "insert", b"U": "update", b"D": "delete"}[kind]
            found.append(Change(oid, op, new, old, commit_lsn, ordinal, xid, committed_at))
            ordinal += 1
        elif kind == b"T":
            count = reader.take("I")
            reader.raw(1)
            for _ in range(count):
                oid = reader.take("I")
                found.append(Change(oid, "truncate", None, None, commit_lsn, ordinal, xid, committed_at))
                ordinal += 1
    return found
