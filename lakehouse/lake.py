"""The door for every reader: what a lake holds, as of which moment, and one row's life. It only ever reads.

Any number of processes may read while capture writes: every answer is pinned to versions that are there already.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, tzinfo

import polars as pl

from cdc.relation import TableName
from lakehouse.answer import Answer
from lakehouse.as_of import AsOf, resolve
from lakehouse.cuts import Gap
from lakehouse.difference import Difference, State, difference
from lakehouse.intervals_as_of import IntervalsAsOf, intervals_as_of
from lakehouse.life import Change
from lakehouse.moment import AskedMoment, Freshness, Moment, NewestHeld, read_moment
from lakehouse.names import from_segment
from lakehouse.opening import OpenLake
from lakehouse.query import TableReference
from lakehouse.root import LakeRoot
from lakehouse.sql import Engine, name_tables, unknown_table
from lakehouse.starting_point import Plan
from lakehouse.table_as_of import TableAsOf, table_as_of
from lakehouse.timeline import Timeline
from lakehouse.trace import trace
from lakehouse.versions import TableVersion, versions_of

_KEPT_POINTS = 4096


class Lake:
    """One lake, for as long as a reader likes to keep it; safe for use by several threads.

    Besides what each method says, any of them may raise LakeUnreachable, BucketMissing or LakeFromNewerVersion.
    """

    def __init__(self, root: LakeRoot) -> None:
        self.root = OpenLake(root.url, root.options)
        self._engine = Engine(self.root)
        self._told: tuple[Timeline, dict[Moment, AsOf]] | None = None  # and points of it that were asked for

    @classmethod
    def open(cls, root: LakeRoot) -> Lake:
        """Reads nothing yet: an empty lake is said by the first question."""
        return cls(root)

    def tables(self) -> list[TableName]:
        """The source tables that the lake holds, by name."""
        store = self.root.store()
        names = []
        for schema in store.folders("changelog"):
            for table in store.folders(f"changelog/{schema}"):
                try:
                    names.append(TableName(from_segment(schema), from_segment(table)))
                except ValueError:
                    continue  # a folder that isn't ours
        return sorted(names)

    def at(self, moment: AskedMoment = None, zone: tzinfo = UTC, freshness: Freshness = "cut") -> AsOf:
        """The point that ``moment`` means, judged for every table; ``zone`` is for times that state none.

        None is the newest cut or, with ``freshness`` "changelog", all that is durable, as "now" always is.
        Raises: UnknownMoment, LakeEmpty, BeforeFirstCut, BeyondLake.
        """
        asked = read_moment(moment, zone, freshness)
        timeline, points = self._timeline()
        point = points.get(asked)
        if point is None:
            point = resolve(asked, timeline)
            if len(points) < _KEPT_POINTS:
                points[asked] = point
        return point

    def rows(self, table: TableName, as_of: AsOf, plan: Plan | None = None) -> pl.LazyFrame:
        """One table's rows there: source columns, then ``_valid_from_lsn`` and ``_valid_from``. No order.

        Raises: UnknownTable; HistoryIncomplete when the table came later, or the version is gone. The frame is lazy:
        a data file that is gone is found out when it is collected, in Polars' words. ``plan`` says where to start;
        the rows are the same.
        """
        self._check(table)
        return table_as_of(self.root, table, as_of, plan).rows()

    def intervals(self, table: TableName, as_of: AsOf) -> pl.LazyFrame:
        """What each row was, from which source commit to which, as known at that point; no order.

        Source columns, then ``_valid_from``, ``_valid_to``, ``_from_lsn``, ``_to_lsn``: half-open, no end where the row
        still is what it was. Raises what ``rows`` raises.
        """
        self._check(table)
        return intervals_as_of(self.root, table, as_of).rows()

    def difference(self, table: TableName, earlier: AsOf, later: AsOf) -> Difference:
        """Which rows came, went or changed between two points. Raises what ``rows`` raises; ValueError when swapped."""
        if earlier.lsn > later.lsn:
            raise ValueError(f"the earlier point {earlier.lsn} lies after the later one, {later.lsn}")
        self._check(table)
        states = [(table_as_of(self.root, table, point), point.lsn) for point in (earlier, later)]
        return difference(*(State(state.rows(), state.columns.key, lsn) for state, lsn in states))

    def sql(
        self,
        query: str,
        at: AskedMoment | AsOf = None,
        zone: tzinfo = UTC,
        *,
        freshness: Freshness = "cut",
        plan: Plan | None = None,
    ) -> Answer:
        """One SELECT, all its tables as of one point. See ``at`` for the point, `lakehouse.sql` for the names.

        Raises what ``at`` and ``rows`` raise, and QueryRefused.
        """
        as_of = at if isinstance(at, AsOf) else self.at(at, zone, freshness)
        named = name_tables(self._engine.references(query), self.tables())
        tables: dict[TableReference, TableAsOf | IntervalsAsOf] = {}
        for one in named:
            if one.name is not None and one.kind == "table":
                tables[one.reference] = table_as_of(self.root, one.name, as_of, plan)
            elif one.name is not None and one.kind == "history":
                tables[one.reference] = intervals_as_of(self.root, one.name, as_of)
        rows = self._engine.answer(query, named, tables, as_of.lsn)
        return Answer(rows, as_of.of({one.name for one in named if one.name}))

    def trace(self, table: TableName, key: str | Sequence[str]) -> list[Change]:
        """Every change of one row, oldest first; empty where no row ever had that key.

        ``key`` is the value as text; for a key of several columns one text each, or all as a JSON array or object.
        Covers all that is durable. Raises: LakeEmpty, UnknownTable, UnknownKey.
        """
        self._check(table)
        timeline, _ = self._timeline()
        return trace(self.root, self._engine, table, key, resolve(NewestHeld(), timeline).lsn, timeline)

    def versions(self, table: TableName, last: int | None = None) -> list[TableVersion]:
        """Which version of ``current`` stands for which source time and LSN, oldest first; all, or the ``last`` few.

        Raises: LakeEmpty, UnknownTable.
        """
        self._check(table)
        return versions_of(self.root, table, last)

    def gaps(self, tables: Collection[TableName] | None = None) -> tuple[Gap, ...]:
        """Everything that the lake can't vouch for at some time in its past, for these tables or all."""
        gaps = self._timeline()[0].gaps
        return gaps if tables is None else tuple(gap for gap in gaps if gap.table is None or gap.table in tables)

    def _timeline(self) -> tuple[Timeline, dict[Moment, AsOf]]:
        before = self._told
        timeline = Timeline.read(self.root, None if before is None else before[0])
        if before is None or timeline is not before[0]:
            self._told = before = (timeline, {})
        return before

    def _check(self, table: TableName) -> None:
        if table not in (tables := self.tables()):
            raise unknown_table(str(table), tables)
