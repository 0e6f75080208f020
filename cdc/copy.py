"""A table's rows at one exact position: a temporary slot exports a snapshot, COPY reads under it.

The slot's consistent point P says: the snapshot holds every transaction whose commit record starts before P, and a
stream from P on holds all the others. So the copy's LSN is P - 1.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from cdc import scan
from cdc.batch import TableCopy
from cdc.catalogue import Catalogue, PublishedTable
from cdc.changes import RelationDecoder
from cdc.errors import ProtocolViolation
from cdc.lsn import Lsn
from cdc.source import PRINT_AS_WE_READ, Connection, connect, explained

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER_BYTES = len(_SIGNATURE) + 8
_SLICE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state of the source that several sessions can read. Lives as long as ``exported_snapshot`` is open."""

    name: str
    lsn: Lsn  # includes every transaction whose commit LSN is <= it
    taken_at: datetime  # UTC, the source's clock


@contextmanager
def exported_snapshot(dsn: str) -> Iterator[Snapshot]:
    """A snapshot at an exact position. Needs one free replication slot and WAL sender while it is open."""
    slot = f"rireki_snapshot_{os.getpid()}_{threading.get_ident() & 0xFFFFFFFF:x}"
    command = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')")
    with explained(dsn, slot=slot), connect(dsn, replication=True, application_name="rireki snapshot") as connection:
        result = connection.pgconn.exec_(command.format(sql.Identifier(slot)).as_bytes(connection))
        if result.status != ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(result)
        consistent_point = Lsn.parse((result.get_value(0, 1) or b"").decode())
        name = (result.get_value(0, 2) or b"").decode()
        yield Snapshot(name, consistent_point.before(), datetime.now(UTC))


def copy_table(dsn: str, stream: str, table: PublishedTable, catalogue: Catalogue, snapshot: Snapshot) -> TableCopy:
    """All rows that the publication lets through, as of the snapshot. Raises PrivilegeMissing."""
    decoder = decoder_of(table, catalogue)
    at_us = int(snapshot.taken_at.timestamp() * 1_000_000)
    pieces = [decoder.copy_marker(snapshot.lsn.value, at_us)]
    first = 0
    for buf in _copied_slices(dsn, table, decoder, snapshot):
        off, length = _split(buf, len(table.relation.columns), str(table.relation.name))
        pieces.append(decoder.copied(buf, off, length, snapshot.lsn.value, at_us, first))
        first += off.shape[1]
    return TableCopy(stream, decoder.relation, snapshot.lsn, snapshot.taken_at, decoder.whole(pieces))


def decoder_of(table: PublishedTable, catalogue: Catalogue) -> RelationDecoder:
    relation = table.relation
    types = tuple(
        catalogue.lake_type(c.type_oid, c.type_modifier, f"{relation.name}.{c.name}") for c in relation.columns
    )
    return RelationDecoder(relation, types)


def _copied_slices(
    dsn: str, table: PublishedTable, decoder: RelationDecoder, snapshot: Snapshot
) -> Iterator[scan.Bytes]:
    # Closed, not committed: a reader that gives up in the middle leaves nothing to be waited for.
    with explained(dsn), closing(connect(dsn, application_name="rireki copy")) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot.name)))
        # A policy would filter the copy without a word; off, it raises instead.
        connection.execute("SET LOCAL row_security = off")
        connection.execute(PRINT_AS_WE_READ)
        yield from _read(connection, _copy_command(connection, table, decoder))


def _copy_command(connection: Connection, table: PublishedTable, decoder: RelationDecoder) -> bytes:
    relation = table.relation
    columns = sql.SQL(", ").join(
        # format() asks the type's output function, as the stream does; a cast to text may be another function.
        sql.SQL("CASE num_nulls({0}) WHEN 0 THEN format('%s', {0}) END" if needs_text else "{0}").format(
            sql.Identifier(column.name)
        )
        for column, needs_text in zip(relation.columns, decoder.needs_text, strict=True)
    )
    rows = sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(relation.name.schema, relation.name.table))
    if table.row_filter is not None:
        # The server's own words for the filter, from its catalogue.
        rows += sql.SQL(" WHERE ") + sql.SQL(table.row_filter)
    return sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(rows).as_bytes(connection)


def _read(connection: Connection, command: bytes) -> Iterator[scan.Bytes]:
    """Whole rows, about _SLICE_BYTES at a time, without the header."""
    pgconn = connection.pgconn
    result = pgconn.exec_(command)
    if result.status != ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    messages: list[bytes] = []
    size, header_seen = 0, False
    while True:
        n, content = pgconn.get_copy_data(0)
        if n < 0:
            break
        if not header_seen:
            header_seen = True
            content = content[_HEADER_BYTES:]
        messages.append(content)  # type: ignore[arg-type]
        size += n
        if size >= _SLICE_BYTES:
            yield np.frombuffer(b"".join(messages), np.uint8)
            messages, size = [], 0
    while (last := pgconn.get_result()) is not None:
        if last.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(last)
    if messages:
        yield np.frombuffer(b"".join(messages), np.uint8)


def _split(buf: scan.Bytes, columns: int, table: str) -> tuple[scan.Ints, scan.Ints]:
    most = len(buf) // (2 + 4 * columns) + 1
    off, length = np.zeros((columns, most), np.int64), np.empty((columns, most), np.int64)
    rows = scan.split_copy_rows(buf, 0, off, length)
    if rows < 0:
        raise ProtocolViolation("a copied row with other columns than asked for", subject=table)
    return off[:, :rows], length[:, :rows]
