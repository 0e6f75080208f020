"""From raw replication messages to offsets: where every change, transaction and value lies in one buffer.

Numba kernels over flat arrays; nothing here knows what a value means. They release the GIL, so a receiving thread
keeps its pace while another scans. tests/cdc/twin.py holds a plain-Python twin of each.

A value's length says what it is where there are no bytes: ``NULL``, ``UNCHANGED`` (TOAST left it out) or ``ABSENT``
(no such tuple). Source: PostgreSQL documentation, "Logical Replication Message Formats" and "COPY, Binary Format".
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

NULL, UNCHANGED, ABSENT = -1, -2, -3

INSERT, UPDATE, DELETE, TRUNCATE = 0, 1, 2, 3

# Logical messages told apart by the kernel, so that a transaction's context costs no Python loop.
OTHER, CONTEXT, RESYNC, HEARTBEAT = 0, 1, 2, 3
CONTEXT_PREFIX, RESYNC_PREFIX, HEARTBEAT_PREFIX = b"rireki.context", b"rireki.resync", b"rireki.heartbeat"

# Where the scanner stands between two slices of the stream: all int64.
AT_COMMIT_LSN, AT_COMMITTED_AT, AT_XID, AT_ORDINAL, AT_TRANSACTION = range(5)

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False)


@_jit
def read_i16(buf, at):  # type: ignore[no-untyped-def]
    return np.int64(np.int16((np.uint16(buf[at]) << np.uint16(8)) | np.uint16(buf[at + 1])))


@_jit
def read_i32(buf, at):  # type: ignore[no-untyped-def]
    value = np.uint32(0)
    for i in range(4):
        value = (value << np.uint32(8)) | np.uint32(buf[at + i])
    return np.int64(np.int32(value))


@_jit
def read_u32(buf, at):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(4):
        value = (value << np.int64(8)) | np.int64(buf[at + i])
    return value


@_jit
def read_i64(buf, at):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    for i in range(8):
        value = (value << np.uint64(8)) | np.uint64(buf[at + i])
    return np.int64(value)


@_jit
def _skip_tuple(buf, at):  # type: ignore[no-untyped-def]
    columns = read_i16(buf, at)
    at += 2
    for _ in range(columns):
        kind = buf[at]
        at += 1
        if kind == 116 or kind == 98:  # 't', 'b'
            at += 4 + read_i32(buf, at)
    return at


@_jit
def kinds_of(buf, starts):  # type: ignore[no-untyped-def]
    """First byte of each message's pgoutput part."""
    out = np.empty(len(starts), np.uint8)
    for i in range(len(starts)):
        out[i] = buf[starts[i]]
    return out


_FRAME = 4  # cdc.libpq puts each message behind its length


@_jit
def without_xids(buf, count, rolled_back, out):  # type: ignore[no-untyped-def]
    """Messages of a transaction sent while it ran, as they are of one sent at its commit: without the transaction id
    behind their first byte, and without those of ``rolled_back`` (sorted ids). (bytes, messages) in ``out``.
    """
    p = filled = np.int64(0)
    messages = 0
    for _ in range(count):
        size = np.int64(0)
        for k in range(_FRAME):
            size |= np.int64(buf[p + k]) << (8 * k)
        p += _FRAME
        end = p + size
        if buf[p] == 79:  # 'O' has no id
            out[filled : filled + _FRAME + size] = buf[p - _FRAME : end]
            filled += _FRAME + size
            messages += 1
        else:
            xid = read_u32(buf, p + 1)
            place = np.searchsorted(rolled_back, xid)
            if place == len(rolled_back) or rolled_back[place] != xid:
                for k in range(_FRAME):
                    out[filled + k] = ((size - 4) >> (8 * k)) & 255
                filled += _FRAME
                out[filled] = buf[p]
                out[filled + 1 : filled + size - 4] = buf[p + 5 : end]
                filled += size - 4
                messages += 1
        p = end
    return filled, messages


@_jit
def count_changes(buf, starts, kinds):  # type: ignore[no-untyped-def]
    """(row changes, transactions begun, logical messages): the sizes that ``index_changes`` fills."""
    changes = transactions = messages = 0
    for i in range(len(starts)):
        kind = kinds[i]
        if kind == 73 or kind == 85 or kind == 68:  # 'I' 'U' 'D'
            changes += 1
        elif kind == 84:  # 'T'
            changes += read_u32(buf, starts[i] + 1)
        elif kind == 66:  # 'B'
            transactions += 1
        elif kind == 77:  # 'M'
            messages += 1
    return changes, transactions, messages


@_jit
def _same(buf, at, length, other):  # type: ignore[no-untyped-def]
    if length != len(other):
        return False
    differing = 0
    for i in range(length):
        differing += buf[at + i] != other[i]
    return differing == 0


@_jit
def index_changes(  # type: ignore[no-untyped-def]
    buf, starts, kinds, at, oid, op, new_at, old_at, where, begun, ended, message, context_p, resync_p, heartbeat_p
):
    """Fill one row per change, transaction and logical message; returns how many of each.

    oid, op, new_at, old_at: per change; tuples as buffer offsets, -1 where the message has none.
    where: int64[changes, 5]  commit_lsn, ordinal, xid, committed_at (µs since 2000), transaction number.
    begun: int64[n, 5]  per transaction: commit_lsn, committed_at, xid, number, offset.
    ended: int64[n, 2]  per commit: transaction number, end_lsn.
    message: int64[n, 5]  transaction number, which prefix, content offset, content length, message start.
    at: int64[5]  where the scanner stands; read and written.
    """
    n = transactions = commits = messages = 0
    for i in range(len(starts)):
        kind = kinds[i]
        p = starts[i] + 1
        if kind == 73 or kind == 85 or kind == 68:
            oid[n] = read_u32(buf, p)
            p += 4
            new_at[n] = -1
            old_at[n] = -1
            if kind == 73:
                op[n] = INSERT
                new_at[n] = p + 1
            elif kind == 68:
                op[n] = DELETE
                old_at[n] = p + 1
            else:
                op[n] = UPDATE
                if buf[p] != 78:  # 'K' or 'O' before 'N'
                    old_at[n] = p + 1
                    p = _skip_tuple(buf, p + 1)
                new_at[n] = p + 1
            where[n, 0] = at[AT_COMMIT_LSN]
            where[n, 1] = at[AT_ORDINAL]
            where[n, 2] = at[AT_XID]
            where[n, 3] = at[AT_COMMITTED_AT]
            where[n, 4] = at[AT_TRANSACTION]
            at[AT_ORDINAL] += 1
            n += 1
        elif kind == 66:
            at[AT_COMMIT_LSN] = read_i64(buf, p)
            at[AT_COMMITTED_AT] = read_i64(buf, p + 8)
            at[AT_XID] = read_u32(buf, p + 16)
            at[AT_ORDINAL] = 0
            at[AT_TRANSACTION] += 1
            begun[transactions, 0] = at[AT_COMMIT_LSN]
            begun[transactions, 1] = at[AT_COMMITTED_AT]
            begun[transactions, 2] = at[AT_XID]
            begun[transactions, 3] = at[AT_TRANSACTION]
            transactions += 1
        elif kind == 67:  # 'C'
            ended[commits, 0] = at[AT_TRANSACTION]
            ended[commits, 1] = read_i64(buf, p + 9)
            commits += 1
        elif kind == 84:
            relations = read_u32(buf, p)
            p += 5
            for _ in range(relations):
                oid[n] = read_u32(buf, p)
                p += 4
                op[n] = TRUNCATE
                new_at[n] = -1
                old_at[n] = -1
                where[n, 0] = at[AT_COMMIT_LSN]
                where[n, 1] = at[AT_ORDINAL]
                where[n, 2] = at[AT_XID]
                where[n, 3] = at[AT_COMMITTED_AT]
                where[n, 4] = at[AT_TRANSACTION]
                at[AT_ORDINAL] += 1
                n += 1
        elif kind == 77:
            transactional = buf[p] & 1
            p += 9
            begin = p
            while buf[p] != 0:
                p += 1
            length = p - begin
            which = OTHER
            if transactional:
                if _same(buf, begin, length, context_p):
                    which = CONTEXT
                elif _same(buf, begin, length, resync_p):
                    which = RESYNC
                elif _same(buf, begin, length, heartbeat_p):
                    which = HEARTBEAT
            message[messages, 0] = at[AT_TRANSACTION] if transactional else -1
            message[messages, 1] = which
            message[messages, 2] = p + 5
            message[messages, 3] = read_u32(buf, p + 1)
            messages += 1
    return n, transactions, commits, messages


@_jit
def split_tuples(buf, tuple_at, off, length):  # type: ignore[no-untyped-def]
    """pgoutput tuples into ``off[column, row]`` and ``length[column, row]``; -1, or the row that has other columns."""
    columns = off.shape[0]
    for row in range(len(tuple_at)):
        p = tuple_at[row]
        if p < 0:
            for c in range(columns):
                length[c, row] = ABSENT
            continue
        if read_i16(buf, p) != columns:
            return row
        p += 2
        for c in range(columns):
            kind = buf[p]
            p += 1
            if kind == 110:  # 'n'
                length[c, row] = NULL
            elif kind == 117:  # 'u'
                length[c, row] = UNCHANGED
            else:
                size = read_i32(buf, p)
                off[c, row] = p + 4
                length[c, row] = size
                p += 4 + size
    return -1


@_jit
def split_copy_rows(buf, begin, off, length):  # type: ignore[no-untyped-def]
    """Binary COPY rows from ``begin`` on, the same way; returns how many, or -1 - row where the columns differ."""
    columns = off.shape[0]
    p = begin
    row = 0
    while p < len(buf):
        n = read_i16(buf, p)
        if n == -1:  # the trailer
            break
        if n != columns:
            return -1 - row
        p += 2
        for c in range(columns):
            size = read_i32(buf, p)
            p += 4
            off[c, row] = p
            length[c, row] = size
            if size > 0:
                p += size
        row += 1
    return row


@_jit
def fill_unchanged(off, length, old_off, old_length):  # type: ignore[no-untyped-def]
    """Take what TOAST left out from the old row, which the server logged whole; whether any is still missing."""
    missing = False
    for c in range(off.shape[0]):
        for row in range(off.shape[1]):
            if length[c, row] == UNCHANGED:
                if old_length[c, row] >= NULL:
                    off[c, row] = old_off[c, row]
                    length[c, row] = old_length[c, row]
                else:
                    missing = True
    return missing


@_jit
def key_changed(buf, off, length, old_off, old_length, key, changed):  # type: ignore[no-untyped-def]
    """Mark the rows whose old tuple differs, byte by byte, in a key column."""
    any_changed = False
    for row in range(off.shape[1]):
        changed[row] = False
        for k in range(len(key)):
            c = key[k]
            old, new = old_length[c, row], length[c, row]
            if old == ABSENT or new < NULL:
                continue
            differs = old != new
            if not differs and new > 0:
                a, b = off[c, row], old_off[c, row]
                for i in range(new):
                    if buf[a + i] != buf[b + i]:
                        differs = True
                        break
            if differs:
                changed[row] = True
                any_changed = True
                break
    return any_changed
