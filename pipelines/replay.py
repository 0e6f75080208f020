"""The way out of the quarantine: changes that couldn't be taken are taken now, in order, at their own places.

``rireki replay`` asks for it through the source, like a copy. What stood against the changes must be gone: another
Rireki reads them, or a column got another name at the source. Columns keep their places when they are renamed, so the
names of now stand for those of then where the types are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cdc.batch import RawChanges, TableChanges
from cdc.catalogue import Catalogue, PublishedTable
from cdc.context import ResyncRequest
from cdc.copy import decoder_of
from cdc.errors import RirekiError, SourceUnreachable
from cdc.protocol import parse_relation
from cdc.raw import decoded
from cdc.relation import Relation, TableName
from lakehouse.columns import TableColumns
from lakehouse.errors import NOT_OF_ONE_TABLE
from lakehouse.writer import LakeWriter
from pipelines.progress import OnProgress, Replayed, Waiting
from pipelines.watch import Watch


class Replays:
    """For the thread that appends."""

    def __init__(
        self, dsn: str, catalogue: Catalogue, publication: str, writer: LakeWriter, watch: Watch, tell: OnProgress
    ) -> None:
        self._dsn, self._catalogue, self._publication = dsn, catalogue, publication
        self._writer, self._watch, self._tell = writer, watch, tell

    def requested(self, requests: Iterable[ResyncRequest]) -> None:
        """Serve what came through the stream. Done again, it finds nothing left to do."""
        for request in requests:
            if request.replay:
                for name in request.tables or self._writer.tables():
                    self._replay(name)

    def _replay(self, name: TableName) -> None:
        raw = self._writer.quarantined(name)
        if not raw:
            return
        try:
            now = {table.relation.name: table.relation for table in self._catalogue.published(self._publication)}
            changes = [self._taken(one, now.get(name)) for one in raw]
            carried = len(raw) == 1 and self._watch.carries(changes[0].relation)
            rows = self._writer.replay(name, changes, carried=carried)
        except (SourceUnreachable, *NOT_OF_ONE_TABLE):
            raise
        except (RirekiError, ValueError, TypeError, ArithmeticError, LookupError) as error:
            self._tell(Waiting(f"{name} stays in quarantine: {error}"))
            return
        self._tell(Replayed(name, rows, carried))

    def _taken(self, one: RawChanges | TableChanges, now: Relation | None) -> TableChanges:
        """Raises what stands against it still."""
        if isinstance(one, TableChanges):  # read long ago, and not written
            return one
        then = self._catalogue.describe(parse_relation(one.announced))
        relation = _with_names_of(then, now)
        TableColumns.of(relation)
        decoder = decoder_of(PublishedTable(relation, None), self._catalogue)
        rows = decoded(one.rows, decoder)
        return TableChanges(decoder.relation, rows)


def _with_names_of(then: Relation, now: Relation | None) -> Relation:
    """A column is known by its place: `pg_attribute` never gives one's number to another."""
    if now is None or now.oid != then.oid or len(now.columns) != len(then.columns):
        return then
    pairs = list(zip(then.columns, now.columns, strict=True))
    if any((old.type_oid, old.type_modifier) != (new.type_oid, new.type_modifier) for old, new in pairs):
        return then
    return replace(then, columns=tuple(replace(old, name=new.name) for old, new in pairs))
