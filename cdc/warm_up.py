"""Compile every kernel before the slot is opened.

Numba compiles a kernel at its first call: some ten seconds for all of them, once for each installation (the result is
kept in a cache beside the code, or where ``NUMBA_CACHE_DIR`` says). Done inside the stream, they would be lag. So a few
messages that a server could have sent go through the very path that its own will take: one table with a column of every
codec, an insert, an update with its old row, a delete, a logical message, in binary and as text; and one copied row.
"""

from __future__ import annotations

import struct

import numpy as np

from cdc import libpq, scan
from cdc.assemble import Assembler
from cdc.changes import RelationDecoder
from cdc.lsn import Lsn
from cdc.messages import Messages
from cdc.protocol import RelationMessage, parse_relation
from cdc.relation import Column, Relation, ReplicaIdentity
from cdc.types import PgType, lake_type

_NUMERIC = struct.pack(">hhHhh", 1, 0, 0, 0, 1)
_SAMPLES = {
    "int8": bytes(8),
    "bool": b"\1",
    "oid": bytes(4),
    "float4": bytes(4),
    "float8": bytes(8),
    "numeric": _NUMERIC,
    "date": bytes(4),
    "timestamptz": bytes(8),
    "uuid": bytes(16),
    "text": b"x",
    "jsonb": b"\1{}",
    "bytea": b"x",
    "time": bytes(8),
    "timetz": bytes(12),
    "interval": bytes(16),
}
_OIDS = {name: oid for oid, name in enumerate(_SAMPLES)}
_ARRAY_OID = len(_SAMPLES)
_CATALOGUE = {
    **{oid: PgType(oid, "pg_catalog", name, "b") for name, oid in _OIDS.items()},
    _ARRAY_OID: PgType(_ARRAY_OID, "pg_catalog", "_text", "b", element_oid=_OIDS["text"]),
}
# Type oid, modifier and a value of each column; a numeric of ten digits is another codec than one without bounds.
_COLUMNS = [
    *((_OIDS[name], -1, value) for name, value in _SAMPLES.items()),
    (_OIDS["numeric"], 4 + (10 << 16), _NUMERIC),
    (_ARRAY_OID, -1, struct.pack(">iiIiii", 1, 0, _OIDS["text"], 1, 1, 1) + b"x"),
]


def warm_up() -> None:
    """Takes milliseconds where the cache is warm."""
    for identity in ReplicaIdentity.DEFAULT, ReplicaIdentity.FULL:
        for as_text in False, True:
            assembler = Assembler("warm_up", Lsn(0), _decoder_of)
            assembler.feed(Messages.of(_messages(identity, as_text)))
            assembler.feed(Messages.of(_sent_ahead(_messages(identity, as_text))))
            assembler.take()
    state, pointer, keepalive = libpq.new_state()
    libpq.receive(0, np.empty(0, np.uint8), state, pointer, keepalive)  # libpq answers that there is no connection
    libpq.receive_rows(0, np.empty(0, np.uint8), state, pointer)
    row = np.frombuffer(_row(b""), np.uint8)
    off, length = (np.zeros((len(_COLUMNS), 1), np.int64) for _ in range(2))
    scan.split_copy_rows(row, 0, off, length)
    _decoder_of(parse_relation(_relation(ReplicaIdentity.DEFAULT))).copied(row, off, length, 0, 0, 0)


def _messages(identity: ReplicaIdentity, as_text: bool) -> list[bytes]:
    """One transaction as pgoutput sends it."""
    row = _row(b"t" if as_text else b"b", as_text)
    oid, new = struct.pack(">I", 1), b"N" + row
    old = (b"O" if identity is ReplicaIdentity.FULL else b"K") + row
    return [
        b"B" + struct.pack(">QqI", 1, 0, 1),
        _relation(identity),
        b"I" + oid + new,
        b"U" + oid + old + new,
        b"D" + oid + old,
        b"M" + struct.pack(">Bq", 1, 0) + scan.CONTEXT_PREFIX + b"\0" + struct.pack(">I", 2) + b"{}",
        b"C" + struct.pack(">BQQq", 0, 1, 2, 0),
    ]


def _sent_ahead(messages: list[bytes]) -> list[bytes]:
    """The same transaction as pgoutput sends it while it runs: an id behind each message's kind."""
    xid = struct.pack(">I", 1)
    body = [message[:1] + xid + message[1:] for message in messages[1:-1]]
    return [b"S" + xid + b"\1", *body, b"E", b"c" + xid + messages[-1][1:]]


def _row(mark: bytes, as_text: bool = False) -> bytes:
    """``mark`` stands before each value in the stream, and not in a copy."""
    values = (_printed(oid, modifier, value) if as_text else value for oid, modifier, value in _COLUMNS)
    return struct.pack(">H", len(_COLUMNS)) + b"".join(mark + struct.pack(">i", len(v)) + v for v in values)


def _printed(oid: int, modifier: int, value: bytes) -> bytes:
    printer = lake_type(oid, modifier, _CATALOGUE, column="warm_up").printer
    assert printer is not None
    return printer(value).encode()


def _relation(identity: ReplicaIdentity) -> bytes:
    columns = b"".join(
        struct.pack(">B", number == 0) + b"c%d\0" % number + struct.pack(">Ii", oid, modifier)
        for number, (oid, modifier, _) in enumerate(_COLUMNS)
    )
    head = struct.pack(">I", 1) + b"warm\0up\0" + identity.encode()
    return b"R" + head + struct.pack(">H", len(_COLUMNS)) + columns


def _decoder_of(message: RelationMessage) -> RelationDecoder:
    types = tuple(lake_type(oid, modifier, _CATALOGUE, column="warm_up") for oid, modifier, _ in _COLUMNS)
    columns = tuple(
        Column(announced.name, announced.type_oid, announced.type_modifier, kind.arrow, announced.flagged_key)
        for announced, kind in zip(message.columns, types, strict=True)
    )
    return RelationDecoder(Relation(message.name, message.oid, message.identity, columns), types)
