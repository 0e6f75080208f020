"""Arrays, composites, ranges and multiranges, out of their members' printers.

Each kind quotes by rules of its own. Source: array_out, record_out, range_deparse and multirange_out of PostgreSQL.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from cdc.printers import Printer

_SPACE = r" \t\n\v\f\r"
_IN_RECORD = re.compile(rf'[{_SPACE}"\\(),]')
_IN_RANGE = re.compile(rf'[{_SPACE}"\\(),\[\]]')

_EMPTY, _LOWER_IN, _UPPER_IN, _LOWER_OPEN, _UPPER_OPEN = 1, 2, 4, 8, 16


def array(element: Printer, delimiter: str = ",") -> Printer:
    """``{a,NULL,"b c"}``, with the bounds in front unless all of them begin at 1."""
    special = re.compile(rf'[{_SPACE}"\\{{}}{re.escape(delimiter)}]')

    def quoted(value: bytes | None) -> str:
        if value is None:
            return "NULL"
        text = element(value)
        if text and text.upper() != "NULL" and not special.search(text):
            return text
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def printed(value: bytes) -> str:
        (dimensions,) = struct.unpack_from(">i", value)
        if dimensions == 0:
            return "{}"
        bounds = list(struct.iter_unpack(">ii", value[12 : 12 + 8 * dimensions]))
        texts = [quoted(one) for one in _fields(value, 12 + 8 * dimensions)]
        for count, _ in reversed(bounds):
            texts = ["{" + delimiter.join(texts[at : at + count]) + "}" for at in range(0, len(texts), count)]
        if all(lower == 1 for _, lower in bounds):
            return texts[0]
        return "".join(f"[{lower}:{lower + count - 1}]" for count, lower in bounds) + "=" + texts[0]

    return printed


def record(member: Callable[[int], Printer]) -> Printer:
    """``(a,,"b c")``. ``member`` gives the printer of a type by its oid, which every member brings along."""

    def printed(value: bytes) -> str:
        (count,) = struct.unpack_from(">i", value)
        at, texts = 4, []
        for _ in range(count):
            oid, size = struct.unpack_from(">Ii", value, at)
            at += 8
            if size < 0:
                texts.append("")
                continue
            texts.append(_doubled(member(oid)(value[at : at + size]), _IN_RECORD))
            at += size
        return f"({','.join(texts)})"

    return printed


def range_of(bound: Printer) -> Printer:
    """``[a,b)``, ``(,b]`` or ``empty``."""

    def printed(value: bytes) -> str:
        flags = value[0]
        if flags & _EMPTY:
            return "empty"
        bounds = _fields(value, 1)
        lower, upper = (
            "" if flags & is_open else _doubled(bound(next(bounds) or b""), _IN_RANGE)
            for is_open in (_LOWER_OPEN, _UPPER_OPEN)
        )
        return ("[" if flags & _LOWER_IN else "(") + f"{lower},{upper}" + ("]" if flags & _UPPER_IN else ")")

    return printed


def multirange_of(one: Printer) -> Printer:
    def printed(value: bytes) -> str:
        return "{" + ",".join(one(part or b"") for part in _fields(value, 4)) + "}"

    return printed


def _fields(value: bytes, at: int) -> Iterator[bytes | None]:
    """Sized values one behind the other; None for NULL."""
    while at < len(value):
        (size,) = struct.unpack_from(">i", value, at)
        at += 4
        if size < 0:
            yield None
        else:
            yield value[at : at + size]
            at += size


def _doubled(text: str, special: re.Pattern[str]) -> str:
    """Quoted where it must be, with quotes and backslashes doubled."""
    if text and not special.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'
