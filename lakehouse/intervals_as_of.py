"""One table's intervals as of one LSN: those built by then, and those that the changelog adds since.

An interval that ended later is shown without its end: nobody knew of it then. The rows of `history` are the base; what
lies beyond its marker is followed in memory, for the rows that changed only.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse import parquet
from lakehouse.as_of import AsOf
from lakehouse.duck import scan
from lakehouse.intervals import advance, history_schema
from lakehouse.opening import reading
from lakehouse.root import LakeRoot
from lakehouse.starting_point import Starts
from lakehouse.table_as_of import as_frame, engines_compare, join_keys, keys_in, open_changelog, tail_of


@dataclass(frozen=True, slots=True)
class Base:
    """The intervals of ``history`` that began at or before ``lsn``. ``only_closed``: without those that are open."""

    uri: str
    table: DeltaTable
    lsn: Lsn
    only_closed: bool = False

    def frame(self) -> pl.LazyFrame:
        ended = pl.col("_to_lsn") <= self.lsn.value
        rows = pl.scan_delta(self.table).filter(pl.col("_from_lsn") <= self.lsn.value)
        if self.only_closed:
            return rows.filter(ended)
        return rows.with_columns(pl.when(ended).then(pl.col(name)).alias(name) for name in ("_to_lsn", "_valid_to"))

    def select(self) -> str:
        """For DuckDB."""
        source = f"FROM {scan(self.uri, self.table.version())}"
        ended = f"_to_lsn <= {self.lsn.value}"
        if self.only_closed:
            return f"{source} WHERE {ended}"
        ends = ", ".join(f"CASE WHEN {ended} THEN {name} END AS {name}" for name in ("_to_lsn", "_valid_to"))
        return f"{source} SELECT * REPLACE ({ends}) WHERE _from_lsn <= {self.lsn.value}"


@dataclass(frozen=True, slots=True)
class IntervalsAsOf:
    """``base``, less its open intervals whose key is in ``touched``, and ``became`` besides. None: nothing."""

    name: TableName
    key: tuple[str, ...]
    base: Base | None
    touched: pa.Table | None = None
    became: pa.Table | None = None

    def rows(self) -> pl.LazyFrame:
        """Source columns, then ``_valid_from``, ``_valid_to``, ``_from_lsn``, ``_to_lsn``. No order."""
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
    """Raises: UnknownTable; HistoryIncomplete when the table was first copied later, or files are gone."""
    subject = str(name)
    changelog, columns = open_changelog(root, name, as_of)
    past = Starts(root, name, as_of.lsn, as_of.cut, changelog, columns).past()
    empty = history_schema(columns).empty_table()
    if past is None:
        told = advance(empty, tail_of(changelog, columns, Lsn(0), as_of.lsn), columns, subject)
        return IntervalsAsOf(name, columns.key, None, None, pa.concat_tables([told.closed, told.opened]))
    base = Base(past.uri, past.table, past.lsn)
    tail = tail_of(changelog, columns, past.lsn, as_of.lsn)
    if tail.num_rows == 0:
        return IntervalsAsOf(name, columns.key, base)
    still_open = base.frame().filter(pl.col("_to_lsn").is_null())
    touched = None
    if engines_compare(columns) and not pc.any(pc.equal(tail["_op"], "truncate")).as_py():
        touched = keys_in(tail, columns.key)
        still_open = join_keys(still_open, touched, columns.key, "semi")
    with reading(subject):
        held = parquet.fit(still_open.collect().to_arrow(), empty.schema)
    told = advance(held, tail, columns, subject)
    became = pa.concat_tables([told.closed, told.opened])
    if touched is None:
        base = Base(past.uri, past.table, past.lsn, only_closed=True)
    return IntervalsAsOf(name, columns.key, base, touched, became)
