"""A row's key as 128 bits, so that keys of any type are compared, grouped and looked up at one speed.

The hash is SipHash-2-4 with 128 bits of output under a random key of this process: nobody who chooses key values can
make two of them collide, and among ten million keys the chance that any two do is below 10**-24, far under that of a
wrong bit read from a disk. So equal hashes are taken for equal keys. Hashes never leave the process.

Two keys are equal when their values are the same bits: null equals null, NaN equals NaN (all of them), and -0.0 is not
0.0, because PostgreSQL stores them as two values and names the one that it means.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]  # shape (rows, 2)

_SECRET = np.frombuffer(os.urandom(16), dtype=np.uint64)
_NAN_BITS = np.uint64(0x7FF8000000000000)


def hash_rows(columns: Sequence[pa.Array | pa.ChunkedArray], rows: int) -> Hashes:
    """One hash per row over these columns. Raises TypeError for a type that the lake doesn't hold."""
    state = np.empty((rows, 4), dtype=np.uint64)
    _begin(state, _SECRET)
    for column in columns:
        _absorb(state, column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    hashes: Hashes = _finish(state)
    return hashes


def warm_up() -> None:
    """Compile the kernels for every kind of key, or load them from Numba's cache: seconds, or milliseconds."""
    kinds = (pa.int64(), pa.string(), pa.decimal128(10, 0), pa.float64(), pa.date32(), pa.list_(pa.string()))
    hash_rows([pa.nulls(1, kind) for kind in kinds], 1)


def _absorb(state: npt.NDArray[np.uint64], column: Any) -> None:
    if isinstance(column, pa.ChunkedArray):  # combine_chunks of no chunks at all
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    kind = column.type
    valid = np.asarray(column.is_valid())
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        column = column.cast(pa.large_binary())
    elif pa.types.is_list(kind):
        column = column.cast(pa.large_list(kind.value_type))
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int64())
    kind = column.type
    if pa.types.is_large_binary(kind):
        _absorb_bytes(state, valid, _offsets(column), _buffer(column.buffers()[2], np.uint8))
    elif pa.types.is_large_list(kind):
        _absorb_lists(state, valid, _offsets(column), hash_rows([column.values], len(column.values)))
    elif pa.types.is_struct(kind):
        members = [column.field(index) for index in range(kind.num_fields)]
        _absorb_words(state, valid, hash_rows(members, len(column)))
    else:
        _absorb_words(state, valid, _words(column))


def _words(column: pa.Array) -> npt.NDArray[np.uint64]:
    """A fixed-width column's bits, shape (rows, 1), or (rows, 2) for a decimal."""
    kind, start, stop = column.type, column.offset, column.offset + len(column)
    values = column.buffers()[1]
    if pa.types.is_decimal128(kind):
        return _buffer(values, np.uint64)[2 * start : 2 * stop].reshape(-1, 2)
    if pa.types.is_float64(kind):
        bits = _buffer(values, np.uint64)[start:stop]
        is_nan = np.asarray(pc.fill_null(pc.is_nan(column), False))
        return np.where(is_nan, _NAN_BITS, bits)[:, None]
    if pa.types.is_date32(kind):
        return _buffer(values, np.int32)[start:stop].astype(np.int64).view(np.uint64)[:, None]
    if pa.types.is_int64(kind) or pa.types.is_timestamp(kind):
        return _buffer(values, np.uint64)[start:stop][:, None]
    raise TypeError(f"no key of type {kind}")


def _offsets(column: pa.Array) -> npt.NDArray[np.int64]:
    if len(column) == 0:
        return np.zeros(1, dtype=np.int64)
    return _buffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]


def _buffer(buffer: pa.Buffer | None, kind: type[Any]) -> npt.NDArray[Any]:
    return np.empty(0, dtype=kind) if buffer is None else np.frombuffer(buffer, dtype=kind)


@numba.njit(nogil=True, cache=True, inline="always")
def _rotated(word: Any, left: Any) -> Any:
    return (word << np.uint64(left)) | (word >> np.uint64(64 - left))


@numba.njit(nogil=True, cache=True)
def _rounds(state: Any, times: Any) -> None:
    a, b, c, d = state[0], state[1], state[2], state[3]
    for _ in range(times):
        a += b
        b = _rotated(b, 13) ^ a
        a = _rotated(a, 32)
        c += d
        d = _rotated(d, 16) ^ c
        a += d
        d = _rotated(d, 21) ^ a
        c += b
        b = _rotated(b, 17) ^ c
        c = _rotated(c, 32)
    state[0], state[1], state[2], state[3] = a, b, c, d


@numba.njit(nogil=True, cache=True)
def _take(state: Any, word: Any) -> None:
    state[3] ^= word
    _rounds(state, 2)
    state[0] ^= word


@numba.njit(nogil=True, cache=True)
def _begin(states: Any, secret: Any) -> None:
    for row in range(states.shape[0]):
        states[row, 0] = secret[0] ^ np.uint64(0x736F6D6570736575)
        states[row, 1] = secret[1] ^ np.uint64(0x646F72616E646F6D) ^ np.uint64(0xEE)
        states[row, 2] = secret[0] ^ np.uint64(0x6C7967656E657261)
        states[row, 3] = secret[1] ^ np.uint64(0x7465646279746573)


@numba.njit(nogil=True, cache=True)
def _finish(states: Any) -> Any:
    hashes = np.empty((states.shape[0], 2), dtype=np.uint64)
    for row in range(states.shape[0]):
        state = states[row]
        state[2] ^= np.uint64(0xEE)
        _rounds(state, 4)
        hashes[row, 0] = state[0] ^ state[1] ^ state[2] ^ state[3]
        state[1] ^= np.uint64(0xDD)
        _rounds(state, 4)
        hashes[row, 1] = state[0] ^ state[1] ^ state[2] ^ state[3]
    return hashes


@numba.njit(nogil=True, cache=True)
def _absorb_words(states: Any, valid: Any, words: Any) -> None:
    for row in range(states.shape[0]):
        _take(states[row], np.uint64(valid[row]))
        if valid[row]:
            for word in words[row]:
                _take(states[row], word)


@numba.njit(nogil=True, cache=True)
def _absorb_bytes(states: Any, valid: Any, offsets: Any, body: Any) -> None:
    for row in range(states.shape[0]):
        _take(states[row], np.uint64(valid[row]))
        if valid[row]:
            # The length first: without it, "a" and "a\0" would end in the same padded word.
            _take(states[row], np.uint64(offsets[row + 1] - offsets[row]))
            word, shift = np.uint64(0), np.uint64(0)
            for position in range(offsets[row], offsets[row + 1]):
                word |= np.uint64(body[position]) << shift
                shift += np.uint64(8)
                if shift == np.uint64(64):
                    _take(states[row], word)
                    word, shift = np.uint64(0), np.uint64(0)
            if shift:
                _take(states[row], word)


@numba.njit(nogil=True, cache=True)
def _absorb_lists(states: Any, valid: Any, offsets: Any, members: Any) -> None:
    for row in range(states.shape[0]):
        _take(states[row], np.uint64(valid[row]))
        if valid[row]:
            _take(states[row], np.uint64(offsets[row + 1] - offsets[row]))
            for position in range(offsets[row], offsets[row + 1]):
                _take(states[row], members[position, 0])
                _take(states[row], members[position, 1])
