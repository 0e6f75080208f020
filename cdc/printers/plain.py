"""Types without inner parts: text and its like, bit strings, positions in the log, snapshots."""

from __future__ import annotations

import struct


def text(value: bytes) -> str:
    return value.decode()


def versioned_text(value: bytes) -> str:
    """jsonb, jsonpath: a version byte, then text."""
    return value[1:].decode()


def char(value: bytes) -> str:
    """The one-byte type "char": nothing for a zero byte, an octal escape for what isn't ASCII."""
    byte = value[0] if value else 0
    if byte >= 0x80:
        return f"\\{byte:03o}"
    return chr(byte) if byte else ""


def bits(value: bytes) -> str:
    (count,) = struct.unpack_from(">i", value)
    return "".join(f"{byte:08b}" for byte in value[4:])[:count]


def bytea(value: bytes) -> str:
    return "\\x" + value.hex()


def uuid(value: bytes) -> str:
    digits = value.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def lsn(value: bytes) -> str:
    high, low = struct.unpack(">II", value)
    return f"{high:X}/{low:X}"


def tid(value: bytes) -> str:
    block, offset = struct.unpack(">IH", value)
    return f"({block},{offset})"


def snapshot(value: bytes) -> str:
    """xmin:xmax:xip_list"""
    count, least, most = struct.unpack_from(">iQQ", value)
    running = struct.unpack_from(f">{count}Q", value, 20)
    return f"{least}:{most}:{','.join(map(str, running))}"


def vector(value: bytes) -> str:
    """int2vector, oidvector: an array whose numbers stand apart by a blank."""
    numbers, at = [], 20
    while at < len(value):
        (size,) = struct.unpack_from(">i", value, at)
        numbers.append(value[at + 4 : at + 4 + size])
        at += 4 + size
    signed = struct.unpack_from(">I", value, 8)[0] == _INT2
    return " ".join(str(int.from_bytes(number, "big", signed=signed)) for number in numbers)


_INT2 = 21  # pg_type.oid, fixed
