"""Copies of tables: those that the lake doesn't hold yet, and those that someone asks to have again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cdc.catalogue import Catalogue, PublishedTable
from cdc.context import ResyncRequest
from cdc.lsn import Lsn
from cdc.publication import published_tables
from cdc.relation import TableName
from cdc.source import connect, explained
from lakehouse.columns import TableColumns
from lakehouse.errors import NameCollision
from lakehouse.writer import LakeWriter
from pipelines.copying import Copier
from pipelines.progress import OnProgress, Waiting


class Copies:
    """Knows what the publication lists and what the lake has; copies the difference."""

    def __init__(
        self,
        dsn: str,
        stream: str,
        publication: str,
        writer: LakeWriter,
        workers: int,
        tell: OnProgress,
        stopped: Callable[[], bool],
    ) -> None:
        self._dsn, self._stream, self._publication, self._writer = dsn, stream, publication, writer
        self._workers, self._tell, self._stopped = workers, tell, stopped
        self._catalogue = Catalogue(dsn)
        self._told = set[str]()  # what can't be copied, and why

    def missing(self) -> bool:
        """Copy every published table that was never copied, or whose state only a copy can bring up to date. Returns
        whether there was one.
        """
        with explained(self._dsn, publication=self._publication), connect(self._dsn) as connection:
            listed = published_tables(connection, self._publication)
        if listed and not any(self.is_due(name) for name in listed):
            return False
        return self._copy(self.is_due)

    def again(self, names: tuple[TableName, ...]) -> None:
        """Copy published tables again; all of them when none is named."""
        self._copy(lambda table: not names or table in names)

    def after_gap(self, begin: Lsn) -> None:
        """Copy every published table that has no copy at or behind ``begin`` which ends the gap before it."""

        def is_due(table: TableName) -> bool:
            ended = self._writer.gap_ends().get(table)
            return ended is None or ended < begin

        self._copy(is_due, ends_gap=True)

    def serve(self, request: ResyncRequest) -> bool:
        """Copy what was asked for; whether all of it is done. A table copied since has been served before."""
        self._copy(partial(self._asks_for, request))
        return not self._stopped()

    def is_due(self, table: TableName) -> bool:
        held = self._writer.held(table)
        return not self.is_copied(table) or (held is not None and held.hold.asks_for_copy)

    def is_copied(self, table: TableName) -> bool:
        return self._writer.copied_at(table) is not None

    def _fits(self, table: PublishedTable) -> bool:
        """Whether the lake can hold the table. One that it can't waits, and is told once; no other waits for it."""
        try:
            TableColumns.of(table.relation)
        except NameCollision as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                self._tell(Waiting(f"{error}; the others go on"))
            return False
        return True

    def _asks_for(self, request: ResyncRequest, table: TableName) -> bool:
        copied_at = self._writer.copied_at(table)
        return (not request.tables or table in request.tables) and (copied_at is None or copied_at < request.commit_lsn)

    def _copy(self, wanted: Callable[[TableName], bool], *, ends_gap: bool = False) -> bool:
        tables = [t for t in self._catalogue.published(self._publication) if wanted(t.relation.name) and self._fits(t)]
        if not tables:
            return False
        copier = Copier(
            self._dsn, self._stream, self._catalogue, self._writer, self._workers, self._tell, self._stopped
        )
        copier.copy(tables, ends_gap=ends_gap)
        return True
