"""From one column's offsets to one Arrow array. The same door for streamed and for copied values, binary and text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cdc import decode, decode_text
from cdc.errors import BinaryUnreadable
from cdc.scan import NULL, Bytes
from cdc.types import Codec, LakeType

Offsets = NDArray[np.int64]
Lengths = NDArray[np.int64]
Flags = NDArray[np.bool_]

_NAN = np.array([np.nan]).view(np.int64)[0]


@dataclass(frozen=True, slots=True)
class Built:
    """``values``: one for each offset. ``refused``: the rows, in order, whose value the lake type can't hold; they are
    null in ``values``.
    """

    values: pa.Array
    refused: NDArray[np.int64]


def build(buf: Bytes, off: Offsets, length: Lengths, kind: LakeType, column: str, *, is_text: bool = False) -> Built:
    """``len(off)`` values; whatever has no bytes (NULL, unchanged, absent) is null.

    ``is_text``: as PostgreSQL prints them, otherwise as its ``send`` functions do. Raises BinaryUnreadable, naming
    ``column``, for a binary form that only PostgreSQL can read.
    """
    n = len(off)
    if (length < 0).all():
        return Built(pa.nulls(n, kind.arrow), np.empty(0, np.int64))
    refused = np.zeros(n, np.bool_)
    if kind.codec is Codec.ARRAY:
        values = _array(buf, off, length, kind, column, is_text, refused)
    elif is_text:
        values = _from_text(buf, off, length, kind, refused)
    else:
        values = _from_binary(buf, off, length, kind, column, refused)
    return Built(values, np.flatnonzero(refused))


def texts(buf: Bytes, off: Offsets, length: Lengths, kind: LakeType, *, is_text: bool) -> list[str]:
    """These values as PostgreSQL prints them. Each must be there."""
    printer = bytes.decode if is_text else kind.printer
    assert printer is not None
    return [printer(buf[at : at + size].tobytes()) for at, size in zip(off.tolist(), length.tolist(), strict=True)]


def _from_binary(buf: Bytes, off: Offsets, length: Lengths, kind: LakeType, column: str, refused: Flags) -> pa.Array:
    n = len(off)
    match kind.codec:
        case Codec.BOOL:
            bits = np.empty(n, np.bool_)
            decode.bools(buf, off, length, bits)
            return _flat(kind, length < 0, np.packbits(bits, bitorder="little"))
        case Codec.INTEGER | Codec.UNSIGNED:
            longs = np.empty(n, np.int64)
            decode.integers(buf, off, length, kind.codec is Codec.UNSIGNED, longs)
            return _flat(kind, length < 0, longs)
        case Codec.FLOAT8:
            longs = np.empty(n, np.int64)
            decode.float_bits(buf, off, length, longs)
            longs[np.isnan(longs.view(np.float64))] = _NAN  # PostgreSQL knows one NaN, whatever its bits
            return _flat(kind, length < 0, longs)
        case Codec.FLOAT4:
            words = np.empty(n, np.int32)
            decode.float4_bits(buf, off, length, words)
            longs = words.view(np.float32).astype(np.float64).view(np.int64)
            longs[np.isnan(longs.view(np.float64))] = _NAN
            return _flat(kind, length < 0, longs)
        case Codec.DECIMAL:
            limbs = np.empty((n, 2), np.uint64)
            decode.decimals(buf, off, length, kind.scale, limbs, refused)
            return _flat(kind, (length < 0) | refused, limbs)
        case Codec.DATE:
            days = np.empty(n, np.int32)
            decode.dates(buf, off, length, days)
            return _flat(kind, length < 0, days)
        case Codec.TIMESTAMP:
            longs = np.empty(n, np.int64)
            decode.timestamps(buf, off, length, longs, refused)
            return _flat(kind, (length < 0) | refused, longs)
        case Codec.UUID:
            offsets = np.empty(n + 1, np.int32)
            content = np.empty(36 * int((length >= 0).sum()), np.uint8)
            decode.uuids(buf, off, length, offsets, content)
            return _variable(kind.arrow, length < 0, offsets, content)
        case Codec.TEXT | Codec.BYTES | Codec.JSONB:
            skip = 1 if kind.codec is Codec.JSONB else 0  # jsonb starts with its version
            return _gathered(buf, off, length, kind.arrow, skip)
        case Codec.NUMERIC:
            offsets = np.empty(n + 1, np.int32)
            content = np.empty(decode.numeric_sizes(buf, off, length, offsets), np.uint8)
            decode.numeric_texts(buf, off, length, offsets, *_SPECIAL_NUMERICS, content)
            return _variable(kind.arrow, length < 0, offsets, content)
        case Codec.PRINTED:
            # Rare in practice and long to print: one Python call a value, until a profile says otherwise.
            printer = kind.printer
            if printer is None:
                raise BinaryUnreadable("was sent in a binary form that only PostgreSQL can read", subject=column)
            return pa.array(
                [
                    None if size < 0 else printer(buf[at : at + size].tobytes())
                    for at, size in zip(off.tolist(), length.tolist(), strict=True)
                ],
                pa.string(),
            )
        case Codec.ARRAY:
            raise AssertionError("arrays have a door of their own")


def _from_text(buf: Bytes, off: Offsets, length: Lengths, kind: LakeType, refused: Flags) -> pa.Array:
    n = len(off)
    match kind.codec:
        case Codec.BOOL:
            bits = buf[np.where(length > 0, off, 0)] == ord("t")
            return _flat(kind, length < 0, np.packbits(bits, bitorder="little"))
        case Codec.DATE:
            days = np.empty(n, np.int32)
            decode_text.dates(buf, off, length, days)
            return _flat(kind, length < 0, days)
        case Codec.TIMESTAMP:
            longs = np.empty(n, np.int64)
            decode_text.timestamps(buf, off, length, longs, refused)
            return _flat(kind, (length < 0) | refused, longs)
        case Codec.BYTES:
            offsets = np.empty(n + 1, np.int32)
            content = np.empty(decode_text.hex_offsets(length, offsets), np.uint8)
            decode_text.hex_bytes(buf, off, offsets, content)
            return _variable(kind.arrow, length < 0, offsets, content)
        case Codec.DECIMAL:
            refused |= (length > 0) & (buf[np.where(length > 0, off, 0)] == ord("N"))  # NaN
            return _gathered(buf, off, np.where(refused, NULL, length), pa.string()).cast(kind.arrow)
        case Codec.FLOAT4:
            return _gathered(buf, off, length, pa.string()).cast(pa.float32()).cast(kind.arrow)
        case Codec.INTEGER | Codec.UNSIGNED | Codec.FLOAT8:
            return _gathered(buf, off, length, pa.string()).cast(kind.arrow)
        case Codec.TEXT | Codec.JSONB | Codec.NUMERIC | Codec.UUID | Codec.PRINTED:
            return _gathered(buf, off, length, kind.arrow)
        case Codec.ARRAY:
            raise AssertionError("arrays have a door of their own")


def _array(
    buf: Bytes, off: Offsets, length: Lengths, kind: LakeType, column: str, is_text: bool, refused: Flags
) -> pa.Array:
    """Lists. One of several dimensions, with bounds of its own, or with an element that its type can't hold is
    ``refused`` as a whole.
    """
    assert kind.element is not None
    if kind.printer is None and not is_text:
        raise BinaryUnreadable("was sent in a binary form that only PostgreSQL can read", subject=column)
    n = len(off)
    offsets = np.empty(n + 1, np.int32)
    if is_text:
        total_bytes = int(length[length > 0].sum())
        source = np.empty(total_bytes, np.uint8)
        el_off, el_length = np.empty(total_bytes // 2 + 1, np.int64), np.empty(total_bytes // 2 + 1, np.int64)
        total = decode_text.split_elements(
            buf, off, length, ord(kind.delimiter), offsets, source, el_off, el_length, refused
        )
        el_off, el_length = el_off[:total], el_length[:total]
    else:
        source = buf
        total = decode.count_elements(buf, off, length, offsets, refused)
        el_off, el_length = np.zeros(total, np.int64), np.full(total, NULL, np.int64)
        decode.split_elements(buf, off, length, refused, el_off, el_length)
    elements = build(source, el_off, el_length, kind.element, column, is_text=is_text)
    if len(elements.refused):
        refused[np.searchsorted(offsets, elements.refused, side="right") - 1] = True
        rest = np.where(refused, NULL, length)
        return _array(buf, off, rest, kind, column, is_text, refused)
    missing = (length < 0) | refused
    validity = _validity(missing)
    return pa.Array.from_buffers(
        kind.arrow, n, [validity, pa.py_buffer(offsets)], int(missing.sum()), 0, [elements.values]
    )


def _flat(kind: LakeType, missing: Flags, values: np.ndarray) -> pa.Array:
    buffers = [_validity(missing), pa.py_buffer(values)]
    return pa.Array.from_buffers(kind.arrow, len(missing), buffers, int(missing.sum()))


def _variable(arrow: pa.DataType, missing: Flags, offsets: np.ndarray, content: np.ndarray) -> pa.Array:
    buffers = [_validity(missing), pa.py_buffer(offsets), pa.py_buffer(content)]
    return pa.Array.from_buffers(arrow, len(missing), buffers, int(missing.sum()))


def _gathered(buf: Bytes, off: Offsets, length: Lengths, arrow: pa.DataType, skip: int = 0) -> pa.Array:
    """The values' bytes as they are, each without its first ``skip``."""
    offsets = np.empty(len(off) + 1, np.int32)
    content = np.empty(decode.byte_offsets(length, skip, offsets), np.uint8)
    decode.copy_bytes(buf, off, skip, offsets, content)
    return _variable(arrow, length < 0, offsets, content)


def _validity(missing: Flags) -> pa.Buffer | None:
    return pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None


_SPECIAL_NUMERICS = tuple(np.frombuffer(text, np.uint8) for text in (b"NaN", b"Infinity", b"-Infinity"))
