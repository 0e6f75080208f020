"""From offsets to column buffers, for values as PostgreSQL prints them: the text twin of cdc.decode.

Numba kernels. They read what the settings of our sessions (``cdc.source``) make the server print, and nothing else:
ISO dates, time zone UTC, bytea in hex. Lengths below zero are no value.
"""

from __future__ import annotations

from typing import Any

import numba

from cdc.decode import I32_MAX, I64_MAX
from cdc.scan import NULL

_jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False)

_DAY_US = 86_400_000_000
_LAST_DAY, _LAST_CLOCK = divmod(I64_MAX, _DAY_US)  # from there on, microseconds no longer fit


@_jit
def _number(buf, at, end):  # type: ignore[no-untyped-def]
    """Digits up to something else: their number, and where that stands."""
    value = 0
    while at < end and 48 <= buf[at] <= 57:
        value = value * 10 + buf[at] - 48
        at += 1
    return value, at


@_jit
def _days(buf, at, end):  # type: ignore[no-untyped-def]
    """YYYY-MM-DD as days since 1970, and where it ends. The era is told by the text's last letter."""
    year, at = _number(buf, at, end)
    month, at = _number(buf, at + 1, end)
    day, at = _number(buf, at + 1, end)
    if buf[end - 1] == 67:  # BC
        year = 1 - year
    if month <= 2:
        year -= 1
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468, at


@_jit
def dates(buf, off, length, out):  # type: ignore[no-untyped-def]
    for i in range(len(off)):
        out[i] = 0
        if length[i] > 0:
            if buf[off[i]] == 105:  # infinity
                out[i] = I32_MAX
            elif buf[off[i]] == 45:
                out[i] = -I32_MAX
            else:
                out[i], _ = _days(buf, off[i], off[i] + length[i])


@_jit
def timestamps(buf, off, length, out, refused):  # type: ignore[no-untyped-def]
    """With or without ``+00``. Marks rows out of range."""
    for i in range(len(off)):
        out[i] = 0
        if length[i] <= 0:
            continue
        at, end = off[i], off[i] + length[i]
        if buf[at] == 105:
            out[i] = I64_MAX
        elif buf[at] == 45:
            out[i] = -I64_MAX
        else:
            days, at = _days(buf, at, end)
            hour, at = _number(buf, at + 1, end)
            minute, at = _number(buf, at + 1, end)
            second, at = _number(buf, at + 1, end)
            us = 0
            if at < end and buf[at] == 46:
                begin = at + 1
                us, at = _number(buf, begin, end)
                for _ in range(6 - (at - begin)):
                    us *= 10
            clock = ((hour * 60 + minute) * 60 + second) * 1_000_000 + us
            if days > _LAST_DAY or (days == _LAST_DAY and clock >= _LAST_CLOCK):
                refused[i] = True
            else:
                out[i] = days * _DAY_US + clock


@_jit
def _digit(byte):  # type: ignore[no-untyped-def]
    return byte - 48 if byte <= 57 else byte - 87


@_jit
def hex_bytes(buf, off, out_off, out):  # type: ignore[no-untyped-def]
    """``\\x0aff`` as bytes; ``out_off`` already holds Arrow's offsets."""
    for i in range(len(off)):
        to = out_off[i]
        begin = off[i] + 2
        for k in range(out_off[i + 1] - to):
            out[to + k] = _digit(buf[begin + 2 * k]) * 16 + _digit(buf[begin + 2 * k + 1])


@_jit
def hex_offsets(length, out):  # type: ignore[no-untyped-def]
    total = 0
    out[0] = 0
    for i in range(len(length)):
        if length[i] > 2:
            total += (length[i] - 2) // 2
        out[i + 1] = total
    return total


@_jit
def split_elements(  # type: ignore[no-untyped-def]
    buf, off, length, delimiter, out_off, content, el_off, el_length, refused
):
    """``{a,NULL,"b \\" c"}``: elements without their quotes into ``content``; how many.

    ``out_off`` are Arrow's list offsets. An array of several dimensions, or with bounds of its own, is ``refused``.
    """
    n = 0
    to = 0
    out_off[0] = 0
    for i in range(len(off)):
        first = n
        at, end = off[i] + 1, off[i] + length[i] - 1
        if length[i] > 2 and (buf[off[i]] == 91 or buf[at] == 123):  # '[' for bounds, '{{' for dimensions
            refused[i] = True
        elif length[i] > 2:
            while at <= end:
                begin = to
                if buf[at] == 34:
                    at += 1
                    while buf[at] != 34:
                        if buf[at] == 92:
                            at += 1
                        content[to] = buf[at]
                        to += 1
                        at += 1
                    at += 1
                    el_length[n] = to - begin
                else:
                    while at < end and buf[at] != delimiter:
                        content[to] = buf[at]
                        to += 1
                        at += 1
                    size = to - begin
                    is_null = size == 4 and content[begin] == 78 and content[begin + 1] == 85
                    is_null = is_null and content[begin + 2] == 76 and content[begin + 3] == 76
                    el_length[n] = NULL if is_null else size
                el_off[n] = begin
                n += 1
                at += 1  # the delimiter, or the closing brace
        out_off[i + 1] = n if not refused[i] else first
    return n
