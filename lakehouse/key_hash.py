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

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]  # shape (rows, 2)

_SECRET = np.frombuffer(os.urandom(16), dtype=np.uint64)
_NAN_BITS = np.uint64(0x7FF8000000000000)


def hash_rows(columns: Sequence[pa.Array | pa.ChunkedArray], rows: int) -> Hashes:
    """One hash per row over these columns. Raises TypeError for a type that the lake doesn't hold."""
    from lakehouse import key_kernels  # Numba, which a question that hashes no key needn't wait for

    state = np.empty((rows, 4), dtype=np.uint64)
    key_kernels.begin(state, _SECRET)
    for column in columns:
        _absorb(state, column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    hashes: Hashes = key_kernels.finish(state)
    return hashes


def warm_up() -> None:
    """Compile the kernels for every kind of key, or load them from Numba's cache: seconds, or milliseconds."""
    kinds = (pa.int64(), pa.string(), pa.decimal128(10, 0), pa.float64(), pa.date32(), pa.list_(pa.string()))
    hash_rows([pa.nulls(1, kind) for kind in kinds], 1)


def _absorb(state: npt.NDArray[np.uint64], column: Any) -> None:
    from lakehouse import key_kernels

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
        key_kernels.absorb_bytes(state, valid, _offsets(column), _buffer(column.buffers()[2], np.uint8))
    elif pa.types.is_large_list(kind):
        key_kernels.absorb_lists(state, valid, _offsets(column), hash_rows([column.values], len(column.values)))
    elif pa.types.is_struct(kind):
        members = [column.field(index) for index in range(kind.num_fields)]
        key_kernels.absorb_words(state, valid, hash_rows(members, len(column)))
    else:
        key_kernels.absorb_words(state, valid, _words(column))


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
