"""A publication, a slot, and what comes out of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from cdc.assemble import Assembler, Taken, Whole
from cdc.batch import Batch, Part, TableChanges
from cdc.catalogue import Catalogue, PublishedTable
from cdc.changes import RelationDecoder
from cdc.copy import copy_table, decoder_of, exported_snapshot
from cdc.lsn import Lsn
from cdc.protocol import RelationMessage
from cdc.relation import Relation
from cdc.slot import beat, drop_slot, ensure_slot
from cdc.stream import ReplicationStream
from tests.conftest import Database
from tests.infra.waiting import eventually


@dataclass
class Source:
    """One stream of the test's database."""

    database: Database
    slot: str
    publication: str

    @property
    def dsn(self) -> str:
        return self.database.dsn

    def execute(self, *statements: str) -> None:
        self.database.execute(*statements)

    def transaction(self, *statements: str) -> None:
        with self.database.connect() as connection, connection.transaction():
            for statement in statements:
                connection.execute(statement)

    def start(self) -> Lsn:
        """Make the slot: what is committed from here on is streamed."""
        state, _ = ensure_slot(self.dsn, self.slot)
        return state.confirmed_flush

    def assembler(self, start: Lsn) -> Assembler:
        return Assembler("test", start, decoders(self.dsn))

    def stream(self, **options: int) -> ReplicationStream:
        return ReplicationStream(self.dsn, self.slot, self.publication, **options)

    def take(self, start: Lsn, *, confirm: bool = True, binary: bool = True) -> Batch:
        """Everything committed so far, as one batch."""
        assert eventually(self._is_free), "the slot is still held by the stream before"
        with self.stream(binary=binary).start() as stream:
            batch = receive_until(stream, self.assembler(start), beat(self.dsn))
            if confirm:
                stream.confirm(batch.end_lsn)
            return batch

    def _is_free(self) -> bool:
        """A walsender lives on for a moment after its stream was closed."""
        query = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{self.slot}'"
        return self.database.rows(query) != [(True,)]

    def only_as_text(self) -> list[str]:
        catalogue = Catalogue(self.dsn)
        return catalogue.only_as_text(catalogue.published(self.publication))

    def copy(self, table: str) -> pa.Table:
        """A table's copied rows, without the marker in front."""
        catalogue = Catalogue(self.dsn)
        (wanted,) = [t for t in catalogue.published(self.publication) if str(t.relation.name) == table]
        with exported_snapshot(self.dsn) as snapshot:
            return copy_table(self.dsn, "test", wanted, catalogue, snapshot).rows.slice(1)


def decoders(dsn: str) -> Callable[[RelationMessage], RelationDecoder]:
    catalogue = Catalogue(dsn)
    return lambda message: decoder_of(PublishedTable(catalogue.describe(message), None), catalogue)


def receive_until(stream: ReplicationStream, assembler: Assembler, lsn: Lsn) -> Batch:
    """Feed until everything before ``lsn`` has arrived; all of it as one batch."""
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    taken: list[Taken] = []
    while datetime.now(UTC) < deadline:
        if assembler.has_more:
            assembler.proceed()
        else:
            arrived = stream.receive(0.5)
            if arrived is not None:
                assembler.feed(arrived.messages)
        reached = assembler.reached
        while assembler.is_full or (reached is not None and reached >= lsn):
            one = assembler.take()
            if one is None:
                return joined(taken)
            taken.append(one)
    raise AssertionError(f"the stream didn't reach {lsn} within a minute")


def joined(taken: list[Taken]) -> Batch:
    """One batch of all: parts and batches in order."""
    batches = [one.batch for one in taken if isinstance(one, Whole)]
    pieces: dict[Relation, list[pa.Table]] = {}
    for one in taken:
        for changes in one.tables if isinstance(one, Part) else one.batch.tables:
            pieces.setdefault(changes.relation, []).append(changes.rows)
    return replace(
        batches[-1],
        from_lsn=batches[0].from_lsn,
        tables=tuple(TableChanges(relation, pa.concat_tables(rows)) for relation, rows in pieces.items()),
        transactions=pa.concat_tables([batch.transactions for batch in batches]),
    )


@pytest.fixture
def source(database: Database) -> Source:
    """An empty publication; tables are added by the test."""
    database.execute("CREATE PUBLICATION published")
    source = Source(database, f"slot_{database.name}", "published")
    yield source
    with database.connect() as connection:
        found = connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (source.slot,)).fetchall()
    if found:
        drop_slot(source.dsn, source.slot)


def rows_of(batch: Batch, table: str) -> list[dict[str, object]]:
    return [row for changes in batch.tables if str(changes.relation.name) == table for row in changes.rows.to_pylist()]
