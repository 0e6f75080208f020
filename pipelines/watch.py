"""Watches the source's catalogue for what the stream doesn't tell, or tells only with the next row.

Each look is compared with the shape in which a table's rows were last known to be right:

    something has changed rows unseen       the table is held from the last certain look on, and copied
    the table is no longer published        it is held until it comes back
    something that the stream will tell     it is waited for; if the stream passes the look without a row of the table
                                            that shows it, the change is followed without one

What was seen is kept in the lake, so that what happens while nobody captures is found, too. A look can't date a change:
its gap begins two looks back, because a commit may be in the log a moment before the catalogue shows it.

A copy that somebody asked for is made beside the looks. One whose snapshot is older than what a look has found would
end the hold that the look begins, or pass for a copy of the shape that it took for the table's: it is overtaken
instead, and begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from cdc.batch import RawChanges, TableChanges
from cdc.catalogue import Catalogue
from cdc.lsn import Lsn
from cdc.relation import Relation, TableName
from cdc.shape import Look, TableShape, came_empty, look, unannounced, where_to
from cdc.source import connect, explained
from lakehouse.generation import NOTHING_VOUCHED, Hold, Vouched
from lakehouse.names import to_segment
from lakehouse.writer import LakeWriter

_KEPT_EVERY_S = 60.0  # how old the record of an unchanged catalogue may become


@dataclass(frozen=True, slots=True)
class Awaited:
    """A change that the stream will tell: seen at ``seen_at``, not yet there at ``certain``."""

    seen_at: Lsn
    certain: Lsn


@dataclass(frozen=True, slots=True)
class Seen:
    """``tables``, by name: the shape in which their rows were last right. ``certain`` is the look before ``at``."""

    certain: Lsn
    at: Lsn
    publication: str
    tables: dict[str, TableShape] = field(hash=False)
    awaited: dict[str, Awaited] = field(default_factory=dict, hash=False)


_SEEN = TypeAdapter(Seen)


class Watch:
    """For the thread that appends: it may hold tables and begin generations. Look before each copy of that thread's."""

    def __init__(self, dsn: str, publication: str, writer: LakeWriter) -> None:
        self._dsn, self._publication, self._writer = dsn, publication, writer
        self._store = writer.root.store()
        self._path = f"_rireki/catalogue/{to_segment(writer.stream)}.json"
        self._seen = _read(self._store.get(self._path))
        self._kept, self._kept_at = self._seen, time.monotonic()
        self._overtaken: dict[TableName, Lsn] = {}  # copies of before are; they end with the session, and so does this
        writer.certain_to, writer.overtaken_to = self._certain_to, self._overtaken.get

    @property
    def awaits(self) -> bool:
        """Something has changed that the stream hasn't told yet."""
        return self._seen is not None and bool(self._seen.awaited)

    def is_passed(self, lsn: Lsn) -> bool:
        """Whether a stream at ``lsn`` should have told something that is still awaited."""
        return self._seen is not None and any(one.seen_at < lsn for one in self._seen.awaited.values())

    def look(self) -> None:
        """Compare, and hold or follow what has changed. Raises SourceUnreachable, LakeUnreachable."""
        now = look(self._dsn, self._publication)
        if not now.publication:
            return  # there is none: the stream will say so
        seen = self._seen or Seen(now.lsn, now.lsn, now.publication, {})
        tables, awaited = dict(seen.tables), dict(seen.awaited)
        for name in self._writer.tables():
            if self._writer.copied_at(name) is not None and self._writer.held(name) is None:
                self._compare(name, seen, now, tables, awaited)
        for name, shape in now.tables.items():
            if self._is_to_be_copied(name) and tables.get(str(name)) != shape:
                self._overtake(name, now)
        # A table that will be copied, for the first time or again: its rows are right in the shape that it has before.
        tables |= {str(name): shape for name, shape in now.tables.items() if self._is_to_be_copied(name)}
        self._seen = Seen(seen.at, now.lsn, now.publication, tables, awaited)
        self._keep()

    def _is_to_be_copied(self, name: TableName) -> bool:
        held = self._writer.held(name)
        return self._writer.copied_at(name) is None or (held is not None and held.hold.asks_for_copy)

    def start_over(self) -> None:
        """Take everything as it is: each table is about to be copied."""
        now = look(self._dsn, self._publication)
        tables = {str(name): shape for name, shape in now.tables.items()}
        self._seen = Seen(now.lsn, now.lsn, now.publication, tables)
        self.keep()

    def carries(self, relation: Relation) -> bool:
        """Whether the rows of a held table could go on in this shape, says the catalogue; see `vouched`."""
        if self._seen is None:
            return False
        now = look(self._dsn, self._publication)
        before, shape = self._seen.tables.get(str(relation.name)), now.tables.get(relation.name)
        known = before is not None and shape is not None and now.publication == self._seen.publication
        return known and came_empty(before, shape, relation)  # type: ignore[arg-type]

    def vouched(self, changes: Iterable[TableChanges], raw: Iterable[RawChanges] = ()) -> Vouched:
        """What the catalogue says of relations in another shape than their tables'. Of ``raw`` ones, only up to where
        the shape before was certain.
        """
        seen, new = self._seen, [one.relation for one in changes if not self._writer.fits(one.relation)]
        new = [one for one in new if self._writer.copied_at(one.name) is not None]
        refused = [one.name for one in raw]
        if not (new or refused) or seen is None:
            return NOTHING_VOUCHED
        awaited = {name: seen.awaited.get(str(name)) for name in (*(one.name for one in new), *refused)}
        certain = {name: seen.certain if one is None else one.certain for name, one in awaited.items()}
        now = look(self._dsn, self._publication)
        if now.publication != seen.publication:
            return Vouched(certain=certain)
        tables, found = dict(seen.tables), set[Relation]()
        for relation in new:
            before, shape = tables.get(str(relation.name)), now.tables.get(relation.name)
            if before is not None and shape is not None and came_empty(before, shape, relation):
                found.add(relation)
                names = {column.name for column in relation.columns}
                shown = {name: column for name, column in shape.columns.items() if name in names}
                tables[str(relation.name)] = replace(shape, columns=shown)
        self._seen = replace(seen, tables=tables)
        return Vouched(frozenset(found), certain)

    def _certain_to(self, name: TableName) -> Lsn | None:
        if self._seen is None or str(name) not in self._seen.tables:
            return None
        awaited = self._seen.awaited.get(str(name))
        return self._seen.certain if awaited is None else awaited.certain

    def _compare(
        self, name: TableName, seen: Seen, now: Look, tables: dict[str, TableShape], awaited: dict[str, Awaited]
    ) -> None:
        text, shape = str(name), now.tables.get(name)
        before = tables.get(text)
        if shape is None:
            self._hold(name, now, seen.certain, self._left(before), left=True)
            tables.pop(text, None)
            awaited.pop(text, None)
        elif before is None:
            self._overtake(name, now)
            tables[text] = shape
        elif reason := self._unannounced(before, shape, seen, now):
            self._hold(name, now, seen.certain, reason)
            tables[text] = shape
            awaited.pop(text, None)
        elif before.is_announced_as(shape):
            tables[text] = shape
            awaited.pop(text, None)
        else:
            one = awaited.setdefault(text, Awaited(now.lsn, seen.certain))
            if self._reached > one.seen_at and self._follow(name, before, now, one):
                tables[text] = shape
                awaited.pop(text, None)

    @staticmethod
    def _unannounced(before: TableShape, shape: TableShape, seen: Seen, now: Look) -> str | None:
        return unannounced(before, shape) or (
            "the publication was altered" if now.publication != seen.publication else None
        )

    def _follow(self, name: TableName, before: TableShape, now: Look, one: Awaited) -> bool:
        """A change of which the stream has told nothing by now. False: wait on, for it is changing still."""
        shape = now.tables[name]
        listed = Catalogue(self._dsn).published(self._publication)
        relation = next((table.relation for table in listed if table.relation.name == name), None)
        if relation is None or {column.name for column in relation.columns} != set(shape.columns):
            return False
        if self._writer.fits(relation):
            return True
        if came_empty(before, shape, relation):
            self._writer.alter(relation, self._reached)
        else:
            self._hold(name, now, one.certain, "its columns have changed")
        return True

    def _overtake(self, name: TableName, now: Look) -> None:
        """What was copied before this look shows the table as it was. Once this returns, such a copy is either in the
        lake or never will be.
        """
        self._overtaken[name] = now.read_by
        self._writer.await_commit(name)

    def _hold(self, name: TableName, now: Look, certain: Lsn, reason: str, *, left: bool = False) -> None:
        self._overtake(name, now)
        # The stream may not have come as far as the last copy; what is seen now has happened since that was made.
        copied_at = self._writer.copied_at(name) or Lsn(0)
        begins = max(self._reached, Lsn(certain.value + 1), Lsn(copied_at.value + 1))
        self._writer.hold(name, begins, Hold(reason, certain, by_itself=not left, left=left))

    def _left(self, before: TableShape | None) -> str:
        if before is None:
            return "it is no longer published"
        with explained(self._dsn), connect(self._dsn) as connection:
            now = where_to(connection, before.oid)
        return "it was dropped" if now is None else f"it is no longer published; at the source it is {now}"

    @property
    def _reached(self) -> Lsn:
        return self._writer.durable_to or self._writer.reached or Lsn(0)

    def _keep(self) -> None:
        """Durable if anything has changed, or the record has become old."""
        assert self._seen is not None
        late = time.monotonic() - self._kept_at > _KEPT_EVERY_S
        if (
            late
            or self._kept is None
            or replace(self._kept, certain=self._seen.certain, at=self._seen.at) != self._seen
        ):
            self.keep()

    def keep(self) -> None:
        """Write down what was seen; durable when this returns."""
        if self._seen is not None:
            self._store.replace(self._path, _SEEN.dump_json(self._seen))
            self._kept, self._kept_at = self._seen, time.monotonic()


def _read(body: bytes | None) -> Seen | None:
    """What was written down; None where there is nothing, or only what another version of Rireki can read."""
    try:
        return None if body is None else _SEEN.validate_json(body)
    except ValidationError:
        return None
