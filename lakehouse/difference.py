"""What differs between two states of one table, row by row of its key. Lazy: nothing is read before it is collected.

Every row says since when it is as it is, so of the later state only what came after the earlier one is compared; the
bounds of the files tell which of them hold none of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cdc.lsn import Lsn
from lakehouse.columns import VALID_FROM


@dataclass(frozen=True, slots=True)
class Difference:
    """``added`` are rows of the later state, ``removed`` of the earlier one, as `Lake.rows` gives them; no order.

    ``changed`` has the key, then ``_changed`` (the names of the columns that differ), ``_before`` and ``_after``
    (structs of the compared columns). Without a ``key`` rows can't be told apart: nothing is changed, what differs has
    gone or come, as often as it did.
    """

    key: tuple[str, ...]
    compared: tuple[str, ...]  # the columns that both states have
    added: pl.LazyFrame
    removed: pl.LazyFrame
    changed: pl.LazyFrame


@dataclass(frozen=True, slots=True)
class State:
    """``key`` is the table's at that moment."""

    rows: pl.LazyFrame
    key: tuple[str, ...]
    lsn: Lsn


def difference(earlier: State, later: State) -> Difference:
    """A column that only one of them has is not compared; one whose type differs is, as text."""
    then, now = earlier.rows.collect_schema(), later.rows.collect_schema()
    compared = [name for name in now if name in then and name not in VALID_FROM.names]
    retyped = [name for name in compared if then[name] != now[name]]
    if not later.key or later.key != earlier.key or set(later.key) & set(retyped):
        return _of_bags(earlier.rows, later.rows, compared, retyped)
    key = list(later.key)
    came = later.rows.filter(pl.col("_valid_from_lsn") > earlier.lsn.value)
    before = earlier.rows.select(*key, pl.struct(compared).alias("_before"))
    after = came.select(*key, pl.struct(compared).alias("_after"))
    differing = pl.concat_list(pl.when(_differs(name, name in retyped)).then(pl.lit(name)) for name in compared)
    changed = (
        after.join(before, on=key, how="inner", nulls_equal=True)
        .select(*key, differing.list.drop_nulls().alias("_changed"), "_before", "_after")
        .filter(pl.col("_changed").list.len() > 0)
    )
    added = came.join(earlier.rows.select(key), on=key, how="anti", nulls_equal=True)
    removed = earlier.rows.join(later.rows.select(key), on=key, how="anti", nulls_equal=True)
    return Difference(later.key, tuple(compared), added, removed, changed)


def _differs(name: str, retyped: bool) -> pl.Expr:
    before, after = (pl.col(side).struct.field(name) for side in ("_before", "_after"))
    return before.cast(pl.String).ne_missing(after.cast(pl.String)) if retyped else before.ne_missing(after)


def _of_bags(earlier: pl.LazyFrame, later: pl.LazyFrame, compared: list[str], retyped: list[str]) -> Difference:
    as_text = [pl.col(name).cast(pl.String) for name in retyped]

    def counted(rows: pl.LazyFrame, count: str) -> pl.LazyFrame:
        return rows.select(compared).with_columns(as_text).group_by(compared).agg(pl.len().cast(pl.Int64).alias(count))

    both = counted(earlier, "_then").join(
        counted(later, "_now"), on=compared, how="full", nulls_equal=True, coalesce=True
    )
    surplus = pl.col("_now").fill_null(0) - pl.col("_then").fill_null(0)

    def times(count: pl.Expr) -> pl.LazyFrame:
        repeated = both.select(*compared, pl.lit(0).repeat_by(count.clip(0)).alias("_times"))
        return repeated.filter(pl.col("_times").list.len() > 0).explode("_times").select(compared)

    nothing = earlier.select(pl.lit([], pl.List(pl.String)).alias("_changed")).clear()
    return Difference((), tuple(compared), times(surplus), times(-surplus), nothing)
