"""One table's intervals as of one LSN: those built by then, and those that the changelog adds since.

An interval that ended later is shown without its end: nobody knew of it then. The rows of `history` are the base; what
lies beyond its marker is followed in memory, for the rows that changed only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse import parquet
from lakehouse.as_of import AsOf
from lakehouse.duck import identifier, scan
from lakehouse.generations import Generations
from lakehouse.intervals import ENDS, Intervals, advance, history_schema
from lakehouse.opening import reading
from lakehouse.root import LakeRoot
from lakehouse.starting_point import Starts
from lakehouse.table_as_of import as_frame, engines_compare, join_keys, keys_in, open_changelog, tail_of


@dataclass(frozen=True, slots=True)
class Base:
    """The intervals of ``history`` that began at or before ``lsn``, with those of ``columns`` that it has.

    ``only_closed``: without those that are open.
    """

    uri: str
    table: DeltaTable
    lsn: Lsn
    columns: tuple[str, ...]
    only_closed: bool = False

    def frame(self) -> pl.LazyFrame:
        ended = pl.col("_to_lsn") <= self.lsn.value
        rows = pl.scan_delta(self.table).filter(pl.col("_from_lsn") <= self.lsn.value).select(self._names())
        if self.only_closed:
            return rows.filter(ended)
        return rows.with_columns(pl.when(ended).then(pl.col(name)).alias(name) for name in ("_to_lsn", "_valid_to"))

    def select(self) -> str:
        """For DuckDB."""
        columns = ", ".join(map(identifier, self._names()))
        source = f"FROM {scan(self.uri, self.table.version())} SELECT {columns}"
        ended = f"_to_lsn <= {self.lsn.value}"
        if self.only_closed:
            return f"{source} WHERE {ended}"
        ends = ", ".join(f"CASE WHEN {ended} THEN {name} END AS {name}" for name in ("_to_lsn", "_valid_to"))
        return f"FROM ({source} WHERE _from_lsn <= {self.lsn.value}) SELECT * REPLACE ({ends})"

    def _names(self) -> list[str]:
        held = set(pa.schema(self.table.schema().to_arrow()).names)
        return [name for name in (*self.columns, *ENDS.names) if name in held]


@dataclass(frozen=True, slots=True)
class IntervalsAsOf:
    """``base``, less its open intervals whose key is in ``touched``, and ``became`` besides. None: nothing."""

    name: TableName
    key: tuple[str, ...]
    base: Base | None
    touched: pa.Table | None = None
    became: pa.Table | None = None

    def rows(self) -> pl.LazyFrame:
        """Every column so far, then ``_valid_from``, ``_valid_to``, ``_from_lsn``, ``_to_lsn``. No order."""
        parts = []
        if self.base is not None and self.touched is not None:
            all_of = self.base.frame()
            still_open = all_of.filter(pl.col("_to_lsn").is_null())
            parts.append(all_of.filter(pl.col("_to_lsn").is_not_null()))
            parts.append(join_keys(still_open, self.touched, self.key, "anti"))
        elif self.base is not None:
            parts.append(self.base.frame())
        if self.became is not None:
            parts.append(as_frame(self.became).lazy())
        return pl.concat(parts, how="diagonal")


def intervals_as_of(root: LakeRoot, name: TableName, as_of: AsOf) -> IntervalsAsOf:
    """Columns are named as the changelog names them: every one that the table had had by then.

    Raises: UnknownTable; HistoryIncomplete when the table was first copied later, or files are gone.
    """
    changelog, generations = open_changelog(root, name, as_of)
    generations = generations.known_at(as_of.lsn)
    to = generations.state_at(as_of.lsn)
    newest = generations.stored_columns(generations.at(to))
    past = Starts(root, name, to, as_of.cut, changelog, generations).past()
    empty = history_schema(newest).empty_table()
    after = Lsn(0) if past is None else past.lsn
    base = None if past is None else Base(past.uri, past.table, past.lsn, newest.held.names)
    tail = tail_of(changelog, generations, after, to)
    if base is None:
        told = _followed(empty, tail, generations, after, to, name)
        return IntervalsAsOf(name, newest.key, None, None, pa.concat_tables([told.closed, told.opened]))
    if tail.num_rows == 0:
        return IntervalsAsOf(name, newest.key, base)
    still_open = base.frame().filter(pl.col("_to_lsn").is_null())
    touched = None
    one_shape = len(generations.between(after, to)) == 1
    if one_shape and engines_compare(newest) and not pc.any(pc.equal(tail["_op"], "truncate")).as_py():
        touched = keys_in(tail, newest.key)
        still_open = join_keys(still_open, touched, newest.key, "semi")
    with reading(str(name)):
        held = parquet.fit(still_open.collect().to_arrow(), empty.schema)
    told = _followed(held, tail, generations, after, to, name)
    became = pa.concat_tables([told.closed, told.opened])
    if touched is None:
        base = replace(base, only_closed=True)
    return IntervalsAsOf(name, newest.key, base, touched, became)


def _followed(
    held: pa.Table, tail: pa.Table, generations: Generations, after: Lsn, to: Lsn, name: TableName
) -> Intervals:
    """Generation by generation, as `lakehouse.history_build` does it."""
    closed = []
    for generation, end in generations.between(after, to):
        if generations.held_at(end) is None:
            within = (pc.field("_commit_lsn") > after.value) & (pc.field("_commit_lsn") <= end.value)
            told = advance(held, tail.filter(within), generations.stored_columns(generation), str(name))
            closed.append(told.closed)
            held = told.opened
        after = end
    return Intervals(pa.concat_tables([held.slice(0, 0), *closed]), held)
