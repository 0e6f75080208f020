"""From one column's offsets to one Arrow array. The same door for streamed and for copied values."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cdc import decode
from cdc.errors import ValueNotRepresentable
from cdc.scan import NULL, Bytes
from cdc.types import Codec, LakeType

Offsets = NDArray[np.int64]
Lengths = NDArray[np.int64]


def build(buf: Bytes, off: Offsets, length: Lengths, kind: LakeType, column: str) -> pa.Array:
    """``len(off)`` values; whatever has no bytes (NULL, unchanged, absent) is null.

    Raises ValueNotRepresentable, naming ``column``, for a value that the lake type can't hold.
    """
    n = len(off)
    missing = length < 0
    nulls = int(missing.sum())
    validity = None if nulls == 0 else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    if nulls == n:
        return pa.nulls(n, kind.arrow)

    def flat(values: np.ndarray) -> pa.Array:
        return pa.Array.from_buffers(kind.arrow, n, [validity, pa.py_buffer(values)], nulls)

    def variable(offsets: np.ndarray, content: np.ndarray) -> pa.Array:
        return pa.Array.from_buffers(kind.arrow, n, [validity, pa.py_buffer(offsets), pa.py_buffer(content)], nulls)

    match kind.codec:
        case Codec.BOOL:
            bits = np.empty(n, np.bool_)
            decode.bools(buf, off, length, bits)
            return flat(np.packbits(bits, bitorder="little"))
        case Codec.INTEGER | Codec.UNSIGNED:
            longs = np.empty(n, np.int64)
            decode.integers(buf, off, length, kind.codec is Codec.UNSIGNED, longs)
            return flat(longs)
        case Codec.FLOAT8:
            longs = np.empty(n, np.int64)
            decode.float_bits(buf, off, length, longs)
            return flat(longs)
        case Codec.FLOAT4:
            words = np.empty(n, np.int32)
            decode.float4_bits(buf, off, length, words)
            return flat(words.view(np.float32).astype(np.float64))
        case Codec.DECIMAL:
            limbs = np.empty((n, 2), np.uint64)
            _refuse(decode.decimals(buf, off, length, kind.scale, limbs), column, "a number that isn't finite")
            return flat(limbs)
        case Codec.DATE:
            days = np.empty(n, np.int32)
            decode.dates(buf, off, length, days)
            return flat(days)
        case Codec.TIMESTAMP:
            longs = np.empty(n, np.int64)
            _refuse(decode.timestamps(buf, off, length, longs), column, "a time after the year 294246")
            return flat(longs)
        case Codec.UUID:
            offsets = np.empty(n + 1, np.int32)
            content = np.empty(36 * (n - nulls), np.uint8)
            decode.uuids(buf, off, length, offsets, content)
            return variable(offsets, content)
        case Codec.TEXT | Codec.BYTES | Codec.JSONB:
            skip = 1 if kind.codec is Codec.JSONB else 0  # jsonb starts with its version
            offsets = np.empty(n + 1, np.int32)
            content = np.empty(decode.byte_offsets(length, skip, offsets), np.uint8)
            decode.copy_bytes(buf, off, skip, offsets, content)
            return variable(offsets, content)
        case Codec.NUMERIC:
            offsets = np.empty(n + 1, np.int32)
            content = np.empty(decode.numeric_sizes(buf, off, length, offsets), np.uint8)
            decode.numeric_texts(buf, off, length, offsets, *_SPECIAL_NUMERICS, content)
            return variable(offsets, content)
        case Codec.ARRAY:
            return _array(buf, off, length, kind, column)
        case Codec.TIME | Codec.TIMETZ | Codec.INTERVAL:
            # Rare in practice and long to print: one Python call a value, until a profile says otherwise.
            printer = _PRINTERS[kind.codec]
            return pa.array(
                [
                    None if size < 0 else printer(buf[at : at + size].tobytes())
                    for at, size in zip(off.tolist(), length.tolist(), strict=True)
                ],
                pa.string(),
            )


def _refuse(row: int, column: str, what: str) -> None:
    if row >= 0:
        raise ValueNotRepresentable(f"holds {what}, which its lake type can't", subject=column)


def _array(buf: Bytes, off: Offsets, length: Lengths, kind: LakeType, column: str) -> pa.Array:
    assert kind.element is not None
    n = len(off)
    offsets = np.empty(n + 1, np.int32)
    total = decode.count_elements(buf, off, length, offsets)
    if total < 0:
        raise ValueNotRepresentable("holds an array of several dimensions", subject=column)
    el_off, el_length = np.zeros(total, np.int64), np.full(total, NULL, np.int64)
    decode.split_elements(buf, off, length, el_off, el_length)
    elements = build(buf, el_off, el_length, kind.element, column)
    missing = length < 0
    validity = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    return pa.Array.from_buffers(kind.arrow, n, [validity, pa.py_buffer(offsets)], int(missing.sum()), 0, [elements])


_SPECIAL_NUMERICS = tuple(np.frombuffer(text, np.uint8) for text in (b"NaN", b"Infinity", b"-Infinity"))


def _clock(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text


def _time(value: bytes) -> str:
    return _clock(struct.unpack(">q", value)[0])


def _timetz(value: bytes) -> str:
    us, west = struct.unpack(">qi", value)  # the zone counts seconds west of Greenwich
    sign, zone = ("-", west) if west > 0 else ("+", -west)
    text = f"{_clock(us)}{sign}{zone // 3600:02}"
    if zone % 3600:
        text += f":{zone // 60 % 60:02}"
    return text + (f":{zone % 60:02}" if zone % 60 else "")


def _interval(value: bytes) -> str:
    """ISO 8601 as PostgreSQL's ``intervalstyle = iso_8601`` prints it."""
    us, days, months = struct.unpack(">qii", value)
    if (us, days, months) == (decode.I64_MAX, decode.I32_MAX, decode.I32_MAX):
        return "infinity"
    if (us, days, months) == (decode.I64_MIN, decode.I32_MIN, decode.I32_MIN):
        return "-infinity"
    if us == days == months == 0:
        return "PT0S"
    years, months = int(months / 12), int(months - 12 * int(months / 12))
    date = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
    sign, us = ("-", -us) if us < 0 else ("", us)
    seconds, fraction = divmod(us, 1_000_000)
    clock = "".join(f"{sign}{n}{unit}" for n, unit in ((seconds // 3600, "H"), (seconds // 60 % 60, "M")) if n)
    if seconds % 60 or fraction:
        text = f"{seconds % 60}.{fraction:06}".rstrip("0") if fraction else str(seconds % 60)
        clock += f"{sign}{text}S"
    return f"P{date}" + (f"T{clock}" if clock else "")


_PRINTERS: dict[Codec, Callable[[bytes], str]] = {
    Codec.TIME: _time,
    Codec.TIMETZ: _timetz,
    Codec.INTERVAL: _interval,
}
