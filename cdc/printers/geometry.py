"""Geometric types. Source: geo_ops.c of PostgreSQL."""

from __future__ import annotations

import struct

from cdc.printers.numbers import float8_text


def point(value: bytes) -> str:
    return _points(value, 0)


def line(value: bytes) -> str:
    return "{" + ",".join(float8_text(number) for number in struct.unpack(">3d", value)) + "}"


def lseg(value: bytes) -> str:
    return f"[{_points(value, 0)}]"


def box(value: bytes) -> str:
    return _points(value, 0)


def path(value: bytes) -> str:
    return f"({_points(value, 5)})" if value[0] else f"[{_points(value, 5)}]"


def polygon(value: bytes) -> str:
    return f"({_points(value, 4)})"


def circle(value: bytes) -> str:
    return f"<{_points(value[:16], 0)},{float8_text(struct.unpack_from('>d', value, 16)[0])}>"


def _points(value: bytes, at: int) -> str:
    numbers = [float8_text(number) for (number,) in struct.iter_unpack(">d", value[at:])]
    return ",".join(f"({x},{y})" for x, y in zip(numbers[::2], numbers[1::2], strict=True))
