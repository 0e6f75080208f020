"""Law: the Numba scanner sees exactly what its plain-Python twin sees, wherever the stream is cut into slices."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc import scan
from cdc.messages import Messages
from tests.cdc import twin

COLUMNS = 3
OPS = ("insert", "update", "delete", "truncate")

values = st.one_of(st.just("null"), st.just("unchanged"), st.binary(max_size=20))
rows = st.tuples(*[values] * COLUMNS)
oids = st.integers(1, 2**32 - 1)


def encode_row(row: tuple[bytes | str, ...]) -> bytes:
    parts = [struct.pack(">H", len(row))]
    for value in row:
        if isinstance(value, bytes):
            parts.append(b"b" + struct.pack(">I", len(value)) + value)
        else:
            parts.append({"null": b"n", "unchanged": b"u"}[value])
    return b"".join(parts)


@st.composite
def change_messages(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from("IUDTM"))
    oid = struct.pack(">I", draw(oids))
    old = draw(st.sampled_from([b"K", b"O"])) + encode_row(draw(rows))
    new = b"N" + encode_row(draw(rows))
    if kind == "I":
        return b"I" + oid + new
    if kind == "U":
        return b"U" + oid + (old if draw(st.booleans()) else b"") + new
    if kind == "D":
        return b"D" + oid + old
    if kind == "T":
        relations = draw(st.lists(oids, min_size=1, max_size=3))
        return b"T" + struct.pack(">IB", len(relations), 0) + b"".join(struct.pack(">I", r) for r in relations)
    prefix = draw(st.sampled_from([scan.CONTEXT_PREFIX, scan.RESYNC_PREFIX, b"", b"rireki.contex", b"x"]))
    content = draw(st.binary(max_size=20))
    return (
        b"M"
        + struct.pack(">Bq", draw(st.integers(0, 1)), 0)
        + prefix
        + b"\0"
        + struct.pack(">I", len(content))
        + content
    )


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    found = []
    for number, body in enumerate(draw(st.lists(st.lists(change_messages(), max_size=6), max_size=4))):
        clock, xid = draw(st.integers(-(2**40), 2**50)), draw(st.integers(0, 2**32 - 1))
        lsn = 1000 * (number + 1)
        begin = b"B" + struct.pack(">QqI", lsn, clock, xid)
        found += [begin, *body, b"C" + struct.pack(">BQQq", 0, lsn, lsn + 8, clock)]
    return found


def scanned(messages: list[bytes], at: np.ndarray) -> list[twin.Change]:
    framed = Messages.of(messages)
    buf, starts, kinds = framed.content, framed.starts, framed.kinds
    n, begun, logical = scan.count_changes(buf, starts, kinds)
    oid, op, new_at, old_at = (np.empty(n, np.int64) for _ in range(4))
    where = np.empty((n, 5), np.int64)
    prefixes = [np.frombuffer(p, np.uint8) for p in (scan.CONTEXT_PREFIX, scan.RESYNC_PREFIX, scan.HEARTBEAT_PREFIX)]
    ended = np.empty((int((kinds == ord("C")).sum()) + 1, 2), np.int64)
    messages_at = np.empty((logical, 5), np.int64)
    filled = scan.index_changes(
        buf,
        starts,
        kinds,
        at,
        oid,
        op,
        new_at,
        old_at,
        where,
        np.empty((begun, 5), np.int64),
        ended,
        messages_at,
        *prefixes,
    )
    assert filled[0] == n and filled[1] == begun and filled[3] == logical
    new, old = tuples(buf, new_at), tuples(buf, old_at)
    return [twin.Change(int(oid[i]), OPS[op[i]], new[i], old[i], *(int(x) for x in where[i, :4])) for i in range(n)]


def tuples(buf: np.ndarray, tuple_at: np.ndarray) -> list[tuple[bytes | str, ...] | None]:
    off = np.zeros((COLUMNS, len(tuple_at)), np.int64)
    length = np.empty((COLUMNS, len(tuple_at)), np.int64)
    assert scan.split_tuples(buf, tuple_at, off, length) == -1
    names = {scan.NULL: "null", scan.UNCHANGED: "unchanged"}
    return [
        None
        if at < 0
        else tuple(
            names.get(int(length[c, i])) or buf[off[c, i] : off[c, i] + length[c, i]].tobytes() for c in range(COLUMNS)
        )
        for i, at in enumerate(tuple_at)
    ]


@settings(max_examples=200, deadline=None)
@given(streams(), st.data())
def test_the_scanner_and_its_twin_agree_on_any_stream_cut_anywhere(messages: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(messages)))
    at = np.array([0, 0, 0, 0, -1], np.int64)

    found = [change for part in (messages[:cut], messages[cut:]) if part for change in scanned(part, at)]

    assert found == twin.changes(messages)


def test_a_row_with_other_columns_than_described_is_told_by_its_number() -> None:
    buf = np.frombuffer(encode_row((b"a", b"b", b"c")) + encode_row((b"a",)), np.uint8)
    starts = np.array([0, len(encode_row((b"a", b"b", b"c")))], np.int64)
    off, length = np.zeros((3, 2), np.int64), np.empty((3, 2), np.int64)

    assert scan.split_tuples(buf, starts, off, length) == 1
