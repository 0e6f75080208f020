"""Messages out of libpq in bulk: one call empties what has arrived into one buffer, and no Python runs per message.

psycopg hands over one ``bytes`` a message, which costs more than decoding it. The same public functions of the same
libpq are called here from a Numba kernel instead (``PQgetCopyData``, ``PQconsumeInput``, ``PQfreemem``), so TLS and
everything else that libpq does for a connection stays as it is. The symbols are found through psycopg's own module:
whichever libpq it was linked with is the one that made the connection.
"""

from __future__ import annotations

import ctypes
import sys
from importlib import import_module
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numpy.typing import NDArray
from psycopg import pq

# 'w', start of WAL, end of WAL, server clock: it says nothing that the message behind it doesn't say better.
_HEADER = 25
_WAL_MESSAGE = ord("w")
FRAME = 4  # each message is kept behind its length, little end first

# What ``receive`` found out last. PENDING: the size of a message that didn't fit, still in libpq's hands.
FILLED, MESSAGES, PENDING, KEEPALIVES, ENDED, BROKEN = range(6)
KEEPALIVE_BYTES = 18


def _bind() -> None:
    """Make libpq's functions known to compiled kernels by name: cached code may hold no address."""
    if pq.__impl__ == "python":
        library: ctypes.CDLL = import_module("psycopg.pq._pq_ctypes").pq
    else:
        # dlsym looks through what the module was linked with.
        library = ctypes.CDLL(sys.modules[pq.PGconn.__module__].__file__)
    for name in ("PQgetCopyData", "PQconsumeInput", "PQfreemem"):
        llvm.add_symbol(f"rireki_{name}", ctypes.cast(getattr(library, name), ctypes.c_void_p).value)


_bind()
_get_copy_data: Any = types.ExternalFunction("rireki_PQgetCopyData", types.int32(types.uintp, types.uintp, types.int32))
_consume_input: Any = types.ExternalFunction("rireki_PQconsumeInput", types.int32(types.uintp))
_freemem: Any = types.ExternalFunction("rireki_PQfreemem", types.void(types.uintp))
_memcpy: Any = types.ExternalFunction("memcpy", types.uintp(types.uintp, types.uintp, types.uintp))

_jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False)


def new_state() -> tuple[NDArray[np.int64], NDArray[np.uintp], NDArray[np.uint8]]:
    """What ``receive`` remembers between two calls: counters, libpq's pointer, the newest keepalive."""
    return np.zeros(6, np.int64), np.zeros(1, np.uintp), np.zeros(_HEADER, np.uint8)


@_jit
def _next_size(connection, state, pointer):  # type: ignore[no-untyped-def]
    """Bytes of the next message, which ``pointer`` then holds; 0 when none has arrived, or none will: BROKEN, ENDED."""
    asked = False
    while True:
        size = np.int64(_get_copy_data(connection, pointer.ctypes.data, 1))
        if size > 0:
            return size
        if size < 0:
            state[ENDED] = size
            return np.int64(0)
        if asked:
            return np.int64(0)
        if _consume_input(connection) == 0:
            state[BROKEN] = 1
            return np.int64(0)
        asked = True


@_jit
def receive(connection, buf, state, pointer, keepalive):  # type: ignore[no-untyped-def]
    """Move messages into ``buf`` behind ``state[FILLED]`` until nothing more has arrived or the next doesn't fit.

    ``keepalive`` is overwritten by the newest; KEEPALIVES counts those that no message has followed.
    """
    head = np.empty(_HEADER, np.uint8)
    while True:
        size = state[PENDING] or _next_size(connection, state, pointer)
        if size == 0:
            return
        _memcpy(head.ctypes.data, pointer[0], min(size, _HEADER))
        if head[0] == _WAL_MESSAGE:
            payload = size - _HEADER
            at = state[FILLED]
            if at + FRAME + payload > len(buf):
                state[PENDING] = size
                return
            for i in range(FRAME):
                buf[at + i] = (payload >> (8 * i)) & 255
            _memcpy(buf.ctypes.data + at + FRAME, pointer[0] + _HEADER, payload)
            state[FILLED] = at + FRAME + payload
            state[MESSAGES] += 1
            state[KEEPALIVES] = 0
        else:
            keepalive[:] = head
            state[KEEPALIVES] += 1
        state[PENDING] = 0
        _freemem(pointer[0])
        pointer[0] = 0


@_jit
def receive_rows(connection, buf, state, pointer):  # type: ignore[no-untyped-def]
    """The same for a COPY: rows without any frame between them, for their own counts tell them apart."""
    while True:
        size = state[PENDING] or _next_size(connection, state, pointer)
        if size == 0:
            return
        at = state[FILLED]
        if at + size > len(buf):
            state[PENDING] = size
            return
        _memcpy(buf.ctypes.data + at, pointer[0], size)
        state[FILLED] = at + size
        state[PENDING] = 0
        _freemem(pointer[0])
        pointer[0] = 0


@_jit
def frame_starts(buf, out):  # type: ignore[no-untyped-def]
    """Where each message's payload begins."""
    at = np.int64(0)
    for i in range(len(out)):
        size = np.int64(0)
        for k in range(FRAME):
            size |= np.int64(buf[at + k]) << (8 * k)
        at += FRAME
        out[i] = at
        at += size


@_jit
def whole_frames(buf):  # type: ignore[no-untyped-def]
    """(how many messages are whole, where the last of them ends) of a buffer that may break off inside one."""
    at = np.int64(0)
    count = 0
    while at + FRAME <= len(buf):
        size = np.int64(0)
        for k in range(FRAME):
            size |= np.int64(buf[at + k]) << (8 * k)
        if at + FRAME + size > len(buf):
            break
        at += FRAME + size
        count += 1
    return count, at
