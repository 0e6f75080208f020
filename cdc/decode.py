"""From offsets to column buffers: PostgreSQL's binary values as Arrow lays them out.

Numba kernels, one small loop each. Lengths below zero are no value (see cdc.scan); callers make the validity bitmap.
Source of the formats: the ``*_send`` functions of PostgreSQL, stable since 7.4.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from cdc.scan import read_i16, read_i32, read_i64, read_u32

# PostgreSQL counts from 2000-01-01, Arrow from 1970-01-01.
EPOCH_SHIFT_US = 946_684_800_000_000
EPOCH_SHIFT_DAYS = 10_957
I64_MAX, I64_MIN = 2**63 - 1, -(2**63)
I32_MAX, I32_MIN = 2**31 - 1, -(2**31)

_jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False)


@_jit
def bools(buf, off, length, out):  # type: ignore[no-untyped-def]
    for i in range(len(off)):
        out[i] = length[i] == 1 and buf[off[i]] != 0


@_jit
def integers(buf, off, length, unsigned, out):  # type: ignore[no-untyped-def]
    """int2, int4, int8 by their own width; oid and xid as unsigned."""
    for i in range(len(off)):
        size = length[i]
        if size == 4:
            out[i] = read_u32(buf, off[i]) if unsigned else read_i32(buf, off[i])
        elif size == 8:
            out[i] = read_i64(buf, off[i])
        elif size == 2:
            out[i] = read_i16(buf, off[i])
        else:
            out[i] = 0


@_jit
def float_bits(buf, off, length, out):  # type: ignore[no-untyped-def]
    """float8 bit for bit, so that NaN payloads and -0.0 survive."""
    for i in range(len(off)):
        out[i] = read_i64(buf, off[i]) if length[i] == 8 else 0


@_jit
def float4_bits(buf, off, length, out):  # type: ignore[no-untyped-def]
    for i in range(len(off)):
        out[i] = read_i32(buf, off[i]) if length[i] == 4 else 0


@_jit
def timestamps(buf, off, length, out, refused):  # type: ignore[no-untyped-def]
    """µs since 1970; ±infinity at the ends as DuckDB has them. Marks rows out of range."""
    for i in range(len(off)):
        out[i] = 0
        if length[i] == 8:
            value = read_i64(buf, off[i])
            if value == I64_MAX:
                out[i] = I64_MAX
            elif value == I64_MIN:
                out[i] = -I64_MAX
            elif value >= I64_MAX - EPOCH_SHIFT_US:
                refused[i] = True
            else:
                out[i] = value + EPOCH_SHIFT_US


@_jit
def dates(buf, off, length, out):  # type: ignore[no-untyped-def]
    """Days since 1970; ±infinity at the ends."""
    for i in range(len(off)):
        out[i] = 0
        if length[i] == 4:
            value = read_i32(buf, off[i])
            if value == I32_MAX:
                out[i] = I32_MAX
            elif value == I32_MIN:
                out[i] = -I32_MAX
            else:
                out[i] = value + EPOCH_SHIFT_DAYS


@_jit
def byte_offsets(length, skip, out):  # type: ignore[no-untyped-def]
    """Arrow offsets for values of which the first ``skip`` bytes are left out; returns the total."""
    total = 0
    out[0] = 0
    for i in range(len(length)):
        if length[i] > skip:
            total += length[i] - skip
        out[i + 1] = total
    return total


@_jit
def copy_bytes(buf, off, skip, out_off, out):  # type: ignore[no-untyped-def]
    for i in range(len(off)):
        to = out_off[i]
        begin = off[i] + skip
        for k in range(out_off[i + 1] - to):
            out[to + k] = buf[begin + k]


@_jit
def uuids(buf, off, length, out_off, out):  # type: ignore[no-untyped-def]
    """16 bytes as 36 characters; ``out`` holds 36 for each."""
    total = 0
    out_off[0] = 0
    for i in range(len(off)):
        if length[i] == 16:
            p = off[i]
            for k in range(16):
                if k == 4 or k == 6 or k == 8 or k == 10:
                    out[total] = 45
                    total += 1
                high, low = buf[p + k] >> 4, buf[p + k] & 15
                out[total] = high + (48 if high < 10 else 87)
                out[total + 1] = low + (48 if low < 10 else 87)
                total += 2
        out_off[i + 1] = total
    return total


@_jit
def _add_digit(words, multiplier, digit):  # type: ignore[no-untyped-def]
    """words = words * multiplier + digit over four little-endian 32-bit words; what is carried out of them."""
    carry = np.uint64(digit)
    for w in range(4):
        product = np.uint64(words[w]) * np.uint64(multiplier) + carry
        words[w] = product & np.uint64(0xFFFFFFFF)
        carry = product >> np.uint64(32)
    return carry


@_jit
def decimals(buf, off, length, scale, out, refused):  # type: ignore[no-untyped-def]
    """numeric as int128 (``out`` uint64[n, 2], little end first) times 10**scale. Marks what isn't a number."""
    words = np.zeros(4, np.uint64)
    for i in range(len(off)):
        out[i, 0] = 0
        out[i, 1] = 0
        if length[i] < 8:
            continue
        p = off[i]
        ndigits, weight, sign = read_i16(buf, p), read_i16(buf, p + 2), read_i16(buf, p + 4)
        if sign != 0 and sign != 0x4000:
            refused[i] = True
            continue
        words[:] = 0
        left = scale  # decimal places still to be written
        overflow = np.uint64(0)
        position = 0
        # Digits before the point, with those that PostgreSQL left out as trailing zeroes.
        while position <= weight:
            digit = read_i16(buf, p + 8 + 2 * position) if position < ndigits else 0
            overflow |= _add_digit(words, 10000, digit)
            position += 1
        position = weight + 1  # a negative weight: leading groups of zeroes after the point
        while left > 0:
            digit = read_i16(buf, p + 8 + 2 * position) if 0 <= position < ndigits else 0
            if left >= 4:
                overflow |= _add_digit(words, 10000, digit)
                left -= 4
            else:
                base = 1
                for _ in range(left):
                    base *= 10
                overflow |= _add_digit(words, base, digit // (10000 // base))
                left = 0
            position += 1
        if overflow != 0 or words[3] >= np.uint64(1 << 31):
            refused[i] = True
            continue
        low = words[0] | (words[1] << np.uint64(32))
        high = words[2] | (words[3] << np.uint64(32))
        if sign == 0x4000:
            low = ~low + np.uint64(1)
            high = ~high + (np.uint64(1) if low == 0 else np.uint64(0))
        out[i, 0] = low
        out[i, 1] = high


@_jit
def numeric_sizes(buf, off, length, out_off):  # type: ignore[no-untyped-def]
    """Arrow offsets of numerics as PostgreSQL prints them; returns the total."""
    total = 0
    out_off[0] = 0
    for i in range(len(off)):
        if length[i] >= 8:
            p = off[i]
            ndigits, weight = read_i16(buf, p), read_i16(buf, p + 2)
            sign, dscale = read_i16(buf, p + 4) & 0xFFFF, read_i16(buf, p + 6)
            if sign == 0xC000:
                total += 3
            elif sign == 0xD000:
                total += 8
            elif sign == 0xF000:
                total += 9
            else:
                if sign == 0x4000:
                    total += 1
                if weight < 0 or ndigits == 0:
                    total += 1
                else:
                    first = read_i16(buf, p + 8)
                    total += 1 + (first >= 10) + (first >= 100) + (first >= 1000) + 4 * weight
                if dscale > 0:
                    total += 1 + dscale
        out_off[i + 1] = total
    return total


@_jit
def _write(out, to, text):  # type: ignore[no-untyped-def]
    for k in range(len(text)):
        out[to + k] = text[k]


@_jit
def numeric_texts(buf, off, length, out_off, nan, plus, minus, out):  # type: ignore[no-untyped-def]
    for i in range(len(off)):
        if length[i] < 8:
            continue
        to = out_off[i]
        p = off[i]
        ndigits, weight = read_i16(buf, p), read_i16(buf, p + 2)
        sign, dscale = read_i16(buf, p + 4) & 0xFFFF, read_i16(buf, p + 6)
        if sign == 0xC000:
            _write(out, to, nan)
            continue
        if sign == 0xD000:
            _write(out, to, plus)
            continue
        if sign == 0xF000:
            _write(out, to, minus)
            continue
        if sign == 0x4000:
            out[to] = 45
            to += 1
        if weight < 0 or ndigits == 0:
            out[to] = 48
            to += 1
        else:
            started = False
            for position in range(weight + 1):
                digit = read_i16(buf, p + 8 + 2 * position) if position < ndigits else 0
                base = 1000
                while base > 0:
                    d = digit // base % 10
                    if started or d != 0 or (base == 1 and position == weight):
                        out[to] = 48 + d
                        to += 1
                        started = True
                    base //= 10
        if dscale > 0:
            out[to] = 46
            to += 1
            position = weight + 1 if ndigits > 0 else 0
            written = 0
            while written < dscale:
                digit = read_i16(buf, p + 8 + 2 * position) if 0 <= position < ndigits else 0
                base = 1000
                while base > 0 and written < dscale:
                    out[to] = 48 + digit // base % 10
                    to += 1
                    written += 1
                    base //= 10
                position += 1


@_jit
def count_elements(buf, off, length, out_off, refused):  # type: ignore[no-untyped-def]
    """Arrow list offsets of arrays; returns the total. Marks those of several dimensions, or not from 1."""
    total = 0
    out_off[0] = 0
    for i in range(len(off)):
        if length[i] >= 12:
            dimensions = read_i32(buf, off[i])
            if dimensions > 1 or (dimensions == 1 and read_i32(buf, off[i] + 16) != 1):
                refused[i] = True
            elif dimensions == 1:
                total += read_i32(buf, off[i] + 12)
        out_off[i + 1] = total
    return total


@_jit
def split_elements(buf, off, length, refused, el_off, el_length):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(len(off)):
        if length[i] < 20 or refused[i]:
            continue
        p = off[i] + 20
        for _ in range(read_i32(buf, off[i] + 12)):
            size = read_i32(buf, p)
            p += 4
            el_off[n] = p
            el_length[n] = size
            if size > 0:
                p += size
            n += 1
