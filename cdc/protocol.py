"""The rare messages, and the envelope: bytes in, values out. The frequent ones never become Python objects (cdc.scan).

Source: PostgreSQL documentation, "Streaming Replication Protocol" and "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cdc.errors import ProtocolViolation
from cdc.lsn import Lsn
from cdc.relation import ReplicaIdentity, TableName

RELATION = ord("R")

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def from_postgres_time(us: int) -> datetime:
    """Microseconds since 2000-01-01 UTC, as every message counts them."""
    return _POSTGRES_EPOCH + timedelta(microseconds=us)


@dataclass(frozen=True, slots=True)
class RelationColumn:
    name: str
    type_oid: int
    type_modifier: int
    flagged_key: bool  # part of the replica identity; all columns under FULL


@dataclass(frozen=True, slots=True)
class RelationMessage:
    """What the server says of a table before its first change, and again after it was altered."""

    oid: int
    name: TableName
    identity: ReplicaIdentity
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Everything up to ``wal_end`` has been sent; nothing is said of what we have made durable."""

    wal_end: Lsn
    server_time: datetime
    reply_requested: bool


def parse_keepalive(message: bytes) -> Keepalive:
    wal_end, clock, reply = struct.unpack_from(">QqB", message, 1)
    return Keepalive(Lsn(wal_end), from_postgres_time(clock), bool(reply))


def standby_status(received: Lsn, durable: Lsn, now: datetime, *, ask_reply: bool = False) -> bytes:
    """Our report: what has arrived, what PostgreSQL may forget, and whether it shall answer at once."""
    clock = (now - _POSTGRES_EPOCH) // timedelta(microseconds=1)
    return struct.pack(">cQQQqB", b"r", received.value, durable.value, durable.value, clock, ask_reply)


def parse_relation(payload: bytes) -> RelationMessage:
    """A Relation message without its envelope."""
    try:
        (oid,) = struct.unpack_from(">I", payload, 1)
        schema, at = _text(payload, 5)
        table, at = _text(payload, at)
        identity = ReplicaIdentity(chr(payload[at]))
        (count,) = struct.unpack_from(">H", payload, at + 1)
        at += 3
        columns = []
        for _ in range(count):
            flags = payload[at]
            name, at = _text(payload, at + 1)
            type_oid, modifier = struct.unpack_from(">Ii", payload, at)
            at += 8
            columns.append(RelationColumn(name, type_oid, modifier, bool(flags & 1)))
    except (struct.error, ValueError, IndexError) as error:
        raise ProtocolViolation("a Relation message that can't be read", subject="pgoutput") from error
    # An empty schema name stands for pg_catalog.
    return RelationMessage(oid, TableName(schema or "pg_catalog", table), identity, tuple(columns))


def _text(payload: bytes, at: int) -> tuple[str, int]:
    end = payload.index(0, at)
    return payload[at:end].decode(), end + 1
