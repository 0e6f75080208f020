"""A table's rows at one exact position: a temporary slot exports a snapshot, COPY reads under it.

The slot's consistent point P says: the snapshot holds every transaction whose commit record starts before P, and a
stream from P on holds all the others. So the copy's LSN is P - 1.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.pq import ExecStatus

from cdc import libpq, scan
from cdc.batch import TableCopy
from cdc.catalogue import Catalogue, PublishedTable
from cdc.changes import RelationDecoder, copy_marker, whole, widest
from cdc.errors import ProtocolViolation, SnapshotGone
from cdc.lsn import Lsn
from cdc.relation import TableName
from cdc.source import PRINT_AS_WE_READ, Connection, connect, explained, rows

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER_BYTES = len(_SIGNATURE) + 8
_SLICE_BYTES = 16 << 20
_PART_BLOCKS = 8192  # 64 MiB of heap: seconds of work, which is what a lost connection costs
_LOOK_UP_S = 0.5  # how soon a copy that hears nothing notices that it is to stop
COPYING = "rireki copy"  # with part, number of parts and the table's oid: the sessions' names, which status reads

# Heaps of a table, or of its partitions; other kinds (foreign tables, other access methods) have no blocks of ours.
_HEAPS = """
    SELECT n.nspname::text, c.relname::text,
           pg_relation_size(c.oid) / current_setting('block_size')::int8,
           c.relkind = 'r' AND am.amname = 'heap', has_table_privilege(c.oid, 'SELECT')
    FROM (SELECT relid FROM pg_partition_tree(%s::int8::oid::regclass) WHERE isleaf
          UNION SELECT oid FROM pg_class WHERE oid = %s::int8::oid AND relkind = 'r') AS leaf (oid)
    JOIN pg_class c ON c.oid = leaf.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_am am ON am.oid = c.relam
    ORDER BY 1, 2
"""
# A truncated or rewritten table shows older snapshots nothing, or rows no longer theirs, and says nothing of it.
# The catalogue still shows the snapshot the file of then; the function knows the file of now. Once the copy holds its
# lock neither can change any more.
_REWRITTEN = """
    SELECT c.oid::regclass::text
    FROM pg_class c
    WHERE c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
      AND c.oid IN (SELECT relid FROM pg_partition_tree(%(oid)s::int8::oid::regclass)
                    UNION ALL SELECT %(oid)s::int8::oid)
"""


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


@dataclass(frozen=True, slots=True)
class CopyPart:
    """A stretch of a table that is copied by itself: some blocks of one heap, or all of the table."""

    number: int
    of: int
    heap: TableName | None = None  # None: the table by its own name
    first_block: int = 0
    end_block: int | None = None  # not included; None: to the end

    @property
    def first_ordinal(self) -> int:
        """Parts are read side by side, so each counts its rows in a range of its own."""
        return self.number << 40


_WHOLE = CopyPart(0, 1)


def copy_parts(dsn: str, table: PublishedTable) -> list[CopyPart]:
    """Divide a table that is large, by the blocks of its heap, or of its partitions' heaps.

    Ask after the snapshot was taken: blocks that come later hold nothing that it shows.
    """
    with explained(dsn), connect(dsn) as connection:
        found = rows(connection, _HEAPS, table.relation.oid, table.relation.oid)
    if not found or not all(is_heap and may_read for *_, is_heap, may_read in found):
        return [_WHOLE]
    stretches = [
        (TableName(str(schema), str(name)), first, first + _PART_BLOCKS)
        for schema, name, blocks, *_ in found
        for first in range(0, max(int(str(blocks)), 1), _PART_BLOCKS)
    ]
    return [
        CopyPart(number, len(stretches), heap, first, end if here == heap else None)
        for number, ((heap, first, end), here) in enumerate(
            zip(stretches, [*(heap for heap, _, _ in stretches[1:]), None], strict=True)
        )
    ]


def copied_pieces(
    dsn: str,
    stream: str,
    table: PublishedTable,
    catalogue: Catalogue,
    snapshot: Snapshot,
    part: CopyPart,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[TableCopy]:
    """One part's rows that the publication lets through, some ten MiB at a time; nothing more once ``stopped``.

    Raises PrivilegeMissing, SourceUnreachable; at the end SnapshotGone if what was read isn't what the snapshot held.
    """
    decoder = decoder_of(table, catalogue)
    at_us = int(snapshot.taken_at.timestamp() * 1_000_000)
    first = part.first_ordinal
    for buf in _copied_slices(dsn, table, decoder, snapshot, part, stopped):
        off, length = _split(buf, len(table.relation.columns), str(table.relation.name))
        piece = decoder.copied(buf, off, length, snapshot.lsn.value, at_us, first)
        first += len(piece)
        yield TableCopy(stream, decoder.relation, snapshot.lsn, snapshot.taken_at, pa.Table.from_batches([piece]))


def copy_table(dsn: str, stream: str, table: PublishedTable, catalogue: Catalogue, snapshot: Snapshot) -> TableCopy:
    """All of it in memory, the marker in front. Raises what ``copied_pieces`` raises."""
    pieces = list(copied_pieces(dsn, stream, table, catalogue, snapshot, _WHOLE))
    return beginning(stream, table, snapshot, pieces, with_rows=True)


def beginning(
    stream: str, table: PublishedTable, snapshot: Snapshot, pieces: Sequence[TableCopy], *, with_rows: bool = False
) -> TableCopy:
    """The marker that stands before a copy's rows, in the shape that all of its ``pieces`` have between them."""
    relation = widest(table.relation, [piece.relation for piece in pieces])
    rows = copy_marker(relation, snapshot.lsn.value, int(snapshot.taken_at.timestamp() * 1_000_000))
    if with_rows:
        rows = whole(relation, [*rows.to_batches(), *(one for piece in pieces for one in piece.rows.to_batches())])
    return TableCopy(stream, relation, snapshot.lsn, snapshot.taken_at, rows)


def decoder_of(table: PublishedTable, catalogue: Catalogue) -> RelationDecoder:
    relation = table.relation
    types = tuple(
        catalogue.lake_type(c.type_oid, c.type_modifier, f"{relation.name}.{c.name}") for c in relation.columns
    )
    return RelationDecoder(relation, types)


def _copied_slices(
    dsn: str,
    table: PublishedTable,
    decoder: RelationDecoder,
    snapshot: Snapshot,
    part: CopyPart,
    stopped: Callable[[], bool],
) -> Iterator[scan.Bytes]:
    name = f"{COPYING} {part.number + 1}/{part.of} {table.relation.oid}"
    # Closed, not committed: a reader that gives up in the middle leaves nothing to be waited for.
    with explained(dsn), closing(connect(dsn, application_name=name)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot.name)))
        # A policy would filter the copy without a word; off, it raises instead.
        connection.execute("SET LOCAL row_security = off")
        connection.execute(PRINT_AS_WE_READ)
        yield from _read(connection, _copy_command(connection, table, decoder, part), stopped)
        if not stopped():
            _check_not_rewritten(connection, table)


def _check_not_rewritten(connection: Connection, table: PublishedTable) -> None:
    found = connection.execute(_REWRITTEN, {"oid": table.relation.oid}).fetchone()
    if found is not None:
        raise SnapshotGone(
            f"{found[0]} was truncated or rewritten while it was copied", subject=str(table.relation.name)
        )


def _copy_command(connection: Connection, table: PublishedTable, decoder: RelationDecoder, part: CopyPart) -> bytes:
    relation = table.relation
    columns = sql.SQL(", ").join(
        # format() asks the type's output function, as the stream does; a cast to text may be another function.
        sql.SQL("CASE num_nulls({0}) WHEN 0 THEN format('%s', {0}) END" if needs_text else "{0}").format(
            sql.Identifier(column.name)
        )
        for column, needs_text in zip(relation.columns, decoder.needs_text, strict=True)
    )
    heap = part.heap or relation.name
    only = sql.SQL("ONLY ") if part.heap else sql.SQL("")
    query = sql.SQL("SELECT {} FROM {}{}").format(columns, only, sql.Identifier(heap.schema, heap.table))
    conditions = []
    if part.first_block:
        conditions.append(sql.SQL("ctid >= {}::tid").format(sql.Literal(f"({part.first_block},0)")))
    if part.end_block is not None:
        conditions.append(sql.SQL("ctid < {}::tid").format(sql.Literal(f"({part.end_block},0)")))
    if table.row_filter is not None:
        # The server's own words for the filter, from its catalogue.
        conditions.append(sql.SQL("(") + sql.SQL(table.row_filter) + sql.SQL(")"))
    if conditions:
        query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    return sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query).as_bytes(connection)


def _read(connection: Connection, command: bytes, stopped: Callable[[], bool]) -> Iterator[scan.Bytes]:
    """Whole rows, about _SLICE_BYTES at a time, without the header."""
    pgconn = connection.pgconn
    pgconn.send_query(command)
    while pgconn.is_busy():  # the table may be locked, and the first row far away
        if stopped():
            return _let_go(connection)
        select.select([pgconn.socket], [], [], _LOOK_UP_S)
        pgconn.consume_input()
    result = pgconn.get_result()
    assert result is not None
    if result.status != ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    address = getattr(pgconn, "pgconn_ptr")  # noqa: B009 (not in its protocol)
    state, pointer, _ = libpq.new_state()
    buf, header = np.empty(_SLICE_BYTES, np.uint8), _HEADER_BYTES
    while not state[libpq.ENDED]:
        libpq.receive_rows(address, buf, state, pointer)
        if state[libpq.BROKEN]:
            raise psycopg.OperationalError(pgconn.get_error_message())
        if state[libpq.PENDING] or state[libpq.ENDED]:
            filled = int(state[libpq.FILLED])
            if filled > header:
                rows = buf[header:filled]
                rows.flags.writeable = False  # kernels are compiled once more for an array that may be written
                yield rows
                header = 0
            buf = np.empty(max(_SLICE_BYTES, int(state[libpq.PENDING])), np.uint8)
            state[libpq.FILLED] = 0
        else:
            select.select([pgconn.socket], [], [], _LOOK_UP_S)
        if stopped():
            return _let_go(connection)
    while (last := pgconn.get_result()) is not None:
        if last.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(last)


def _let_go(connection: Connection) -> None:
    """A server that waits for a lock doesn't notice that its client has gone."""
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=_LOOK_UP_S)


def _split(buf: scan.Bytes, columns: int, table: str) -> tuple[scan.Ints, scan.Ints]:
    most = len(buf) // (2 + 4 * columns) + 1
    off, length = np.zeros((columns, most), np.int64), np.empty((columns, most), np.int64)
    rows = scan.split_copy_rows(buf, 0, off, length)
    if rows < 0:
        raise ProtocolViolation("a copied row with other columns than asked for", subject=table)
    return off[:, :rows], length[:, :rows]
