"""A table's name as a path segment that every reader can open.

    orders          orders               [A-Za-z0-9_-] stay as they are
    Kundenaufträge  Kundenauftr.c3.a4ge  every other byte of the name's UTF-8 becomes a dot and two hex digits
    a.b             a.2eb

Polars fails on spaces and non-ASCII in a path, delta-rs on ``%``, Hive-style readers take ``=`` for a partition,
object stores rewrite ``~``; a dot survives them all. Escapes keep a name's bytes, so the mapping is reversible.

Upper case stays, because a path should look like the name it holds. Where a file system takes ``Users`` and
``users`` for one folder, the property ``rireki.name`` inside the table tells them apart: see `lakehouse.log`.
"""

from __future__ import annotations

import re
import string

_PLAIN = frozenset((string.ascii_letters + string.digits + "_-").encode())
_SEGMENT = re.compile(r"\A(?:[A-Za-z0-9_-]|\.[0-9a-f]{2})+\Z")


def to_segment(name: str) -> str:
    """``name`` as one path segment. At most 189 characters for a PostgreSQL name (63 bytes)."""
    return "".join(chr(byte) if byte in _PLAIN else f".{byte:02x}" for byte in name.encode())


def from_segment(segment: str) -> str:
    """The name that ``segment`` stands for. Raises ValueError for a segment that ``to_segment`` never makes."""
    if not _SEGMENT.match(segment):
        raise ValueError(f"not a table's path segment: {segment!r}")
    text = bytearray()
    position = 0
    while position < len(segment):
        if segment[position] == ".":
            text.append(int(segment[position + 1 : position + 3], 16))
            position += 3
        else:
            text.append(ord(segment[position]))
            position += 1
    name = text.decode()
    if to_segment(name) != segment:
        raise ValueError(f"not a table's path segment: {segment!r}")
    return name
