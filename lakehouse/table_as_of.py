"""One table as of one LSN: the rows of a starting point less those that changed since, plus what they became.

Where the start is the LSN itself (a cut, or intervals) it is the whole answer. Otherwise the changelog's tail is folded
over it, by the same fold that makes the next version: the rows that the tail touches are taken out of the start and
folded with it, all others stay where they are and are never read for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from cdc.lsn import Lsn
from cdc.relation import TableName, typed_column
from lakehouse import parquet
from lakehouse.as_of import AsOf
from lakehouse.columns import TableColumns
from lakehouse.errors import HistoryIncomplete, RowMissing, UnknownTable
from lakehouse.fold import fold
from lakehouse.generations import Generations
from lakehouse.opening import OpenLake, open_table, reading
from lakehouse.overlay import MOST_FILES, Overlay, taken_from, version_state
from lakehouse.root import LakeRoot, table_path
from lakehouse.starting_point import Nothing, Past, Plan, Starts, Version
from lakehouse.stored_rows import as_sourced
from lakehouse.unchanged import whole_rows

_CHANGED = {"_valid_from_lsn": "_commit_lsn", "_valid_from": "_committed_at"}


@dataclass(frozen=True, slots=True)
class TableAsOf:
    """``base`` without the rows whose key is in ``touched``, and ``became`` besides.

    ``base`` None: no row comes from there. ``touched`` None: every row of the base stays. ``became`` has the
    schema ``columns.current``; None when nothing changed after the base. ``overlay`` is the base
    without the rows of ``touched``, by their places; None where an engine had better read the base itself.
    """

    name: TableName
    columns: TableColumns
    base: Version | Past | None
    touched: pa.Table | None = None
    became: pa.Table | None = None
    overlay: Overlay | None = None

    def rows(self) -> pl.LazyFrame:
        """Source columns, then ``_valid_from_lsn`` and ``_valid_from``, in no order of rows."""
        parts = []
        if self.base is not None:
            base = self.base.frame()
            parts.append(base if self.touched is None else join_keys(base, self.touched, self.columns.key, "anti"))
        if self.became is not None:
            parts.append(as_frame(self.became).lazy())
        return pl.concat(parts, how="diagonal") if len(parts) > 1 else parts[0]


def table_as_of(root: LakeRoot, name: TableName, as_of: AsOf, plan: Plan | None = None) -> TableAsOf:
    """Reads no row when ``as_of`` is a cut, and few otherwise. Every ``plan`` gives the same rows; None: the fastest.
    Columns are those of then.

    Raises: UnknownTable; HistoryIncomplete when the table was first copied later, or files are gone.
    """
    changelog, generations = open_changelog(root, name, as_of)
    to = generations.state_at(as_of.lsn)
    columns = generations.columns(generations.at(to))
    start = Starts(root, name, to, as_of.cut, changelog, generations).choose(plan)
    base = None if isinstance(start, Nothing) else start
    if base is not None and base.lsn == to:
        return _untouched(root, base, columns, name)
    told = (name, start.lsn, None if base is None else (base.uri, base.table.version()), to, changelog.version())

    def folded() -> TableAsOf:
        return _folded_over(root, base, start.lsn, to, changelog, generations, name)

    return root.once(told, folded) if isinstance(root, OpenLake) else folded()


def _untouched(root: LakeRoot, base: Version | Past, columns: TableColumns, name: TableName) -> TableAsOf:
    overlay: Overlay | None = None
    if isinstance(base, Version) and isinstance(root, OpenLake) and root.is_local:
        table, version = table_path("current", name), base.table.version()
        state = version_state(root, table, version, str(name))
        if len(state.files) <= MOST_FILES:
            overlay = root.once(("overlay", table, version), lambda: Overlay(state, table, {}))
    return TableAsOf(name, columns, base, None, None, overlay)


def _folded_over(
    root: LakeRoot,
    base: Version | Past | None,
    after: Lsn,
    to: Lsn,
    changelog: DeltaTable,
    generations: Generations,
    name: TableName,
) -> TableAsOf:
    """The changelog's tail after ``after``, folded over ``base``."""
    subject, columns = str(name), generations.columns(generations.at(to))
    stretches = generations.between(after, to)
    copied = [generation.from_lsn for generation, _ in stretches if generation.copied and generation.from_lsn > after]
    if copied:  # says every row anew; what it ended may not fit together with what came before
        base, after = None, copied[-1].before()
    if base is None or len(stretches) > 1 or stretches[0][0].from_lsn > after:
        before = generations.columns(generations.at(after))
        rows = None if base is None else _fetched(base.frame(), before, subject)
        return TableAsOf(name, columns, None, None, _through(changelog, generations, after, to, rows, subject))
    tail = as_sourced(tail_of(changelog, generations, after, to), stretches[0][0], generations)
    if tail.num_rows == 0:
        return _untouched(root, base, columns, name)
    if pc.any(pc.equal(tail["_op"], "truncate")).as_py():
        return TableAsOf(name, columns, None, None, _folded(tail, columns, subject))
    return _over_base(root, base, tail, columns, name)


def open_changelog(root: LakeRoot, name: TableName, as_of: AsOf) -> tuple[DeltaTable, Generations]:
    """The table's changelog and generations. Raises: UnknownTable; HistoryIncomplete when it was first copied later."""
    subject = str(name)
    changelog = open_table(root, root.uri("changelog", name), subject)
    if changelog is None:
        raise UnknownTable("the lake holds no such table", subject=subject)
    properties = changelog.metadata().configuration
    first = properties.get("rireki.firstCopy")
    if first is None or as_of.lsn < Lsn.parse(first):
        since = "it has not been copied yet" if first is None else f"the lake holds it from {first} on"
        raise HistoryIncomplete(since, subject=f"{name} at {as_of.lsn}", fix="ask for a later moment (--at)")
    return changelog, Generations.read(pa.schema(changelog.schema().to_arrow()), properties)


def _over_base(
    root: LakeRoot, base: Version | Past, tail: pa.Table, columns: TableColumns, name: TableName
) -> TableAsOf:
    if not engines_compare(columns):
        everything = _fetched(base.frame(), columns, str(name))
        return TableAsOf(name, columns, None, None, _folded(pa.concat_tables([everything, tail]), columns, str(name)))
    touched = keys_in(tail, columns.key)
    overlay: Overlay | None = None
    if isinstance(base, Version):
        table = table_path("current", name)
        state = version_state(root, table, base.table.version(), str(name))
        taken, overlay = taken_from(root, table, state, columns.current, touched, str(name))
        before = _changes(taken.sort_by("_valid_from_lsn"), columns)
        overlay = overlay if len(state.files) <= MOST_FILES else None
    else:
        before = _fetched(join_keys(base.frame(), touched, columns.key, "semi"), columns, str(name))
    became = _folded(pa.concat_tables([before, tail]), columns, str(name))
    return TableAsOf(name, columns, base, touched, became, overlay)


def _through(
    changelog: DeltaTable, generations: Generations, after: Lsn, to: Lsn, rows: pa.Table | None, subject: str
) -> pa.Table:
    """All rows as of ``to``, folded generation by generation: rare, between a change of columns and the next cut."""
    held: pa.Table | None = None
    for generation, end in generations.between(after, to):
        columns = generations.columns(generation)
        tail = as_sourced(tail_of(changelog, generations, after, end), generation, generations)
        before = columns.changes.empty_table() if rows is None else parquet.fit(rows, columns.changes)
        held = _folded(pa.concat_tables([before, tail]), columns, subject)
        rows, after = _as_copied(held), end
    assert held is not None
    return held


def tail_of(changelog: DeltaTable, generations: Generations, after: Lsn, to: Lsn) -> pa.Table:
    """Changes with ``after < _commit_lsn <= to``, in order, in the stored shape."""
    with reading(changelog.table_uri):
        found = (
            pl.scan_delta(changelog)
            .filter((pl.col("_commit_lsn") > after.value) & (pl.col("_commit_lsn") <= to.value))
            .sort("_commit_lsn", "_ordinal", maintain_order=True)
            .collect()
        )
    return parquet.fit(found.to_arrow(), generations.stored)


def engines_compare(columns: TableColumns) -> bool:
    """Whether engines can find rows by key: not where equal rows may repeat, nor where they don't agree how keys
    compare, nor where a part of the key may be null because its text stands beside it. There the fold compares all
    rows itself.
    """
    return bool(columns.key) and not any(
        typed_column(key) != key or pa.types.is_nested(columns.changes.field(key).type) for key in columns.key
    )


def keys_in(tail: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """Every key that the tail names, once: those of its rows, and those that they had before."""
    old = tail["_key"].combine_chunks()
    old = old.filter(old.is_valid())
    now = tail.select(key)
    before = pa.table([pc.struct_field(old, name) for name in key], schema=now.schema)
    return pa.concat_tables([now, before]).group_by(list(key)).aggregate([])


def _fetched(base: pl.LazyFrame, columns: TableColumns, subject: str) -> pa.Table:
    """Rows of ``current`` in the changelog's shape, as if they had been copied when they became valid; oldest first."""
    with reading(subject):
        found = base.sort("_valid_from_lsn", maintain_order=True).collect().to_arrow()
    return _changes(found, columns)


def _changes(rows: pa.Table, columns: TableColumns) -> pa.Table:
    return parquet.fit(_as_copied(rows), columns.changes)


def _as_copied(rows: pa.Table) -> pa.Table:
    changed = rows.rename_columns([_CHANGED.get(name, name) for name in rows.column_names])
    return changed.append_column("_op", pa.array(["copy"] * len(changed), pa.string()))


def _folded(changes: pa.Table, columns: TableColumns, subject: str) -> pa.Table:
    """What the changes leave, in the shape of ``current``. Every row that they name is among them."""
    try:
        folded = fold(changes, columns.key, columns.columns, subject)
        none = np.zeros(len(folded.sought), dtype=np.int64)
        settled = folded.settle(none, subject, columns.key or columns.columns)
    except RowMissing as error:  # inside a gap changes may name rows as they were made unseen
        raise HistoryIncomplete(str(error), subject=subject, fix="ask for another moment (--at)") from error

    def nothing_to_fetch(which: object, name: str) -> pa.ChunkedArray:
        raise AssertionError(f"{name} of {which} lies outside the changes, though settle found none there")

    kept = whole_rows(folded.rows, settled, columns.columns, nothing_to_fetch)
    named: Mapping[str, str] = {change: valid for valid, change in _CHANGED.items()}
    renamed = kept.rename_columns([named.get(name, name) for name in kept.column_names])
    return parquet.fit(renamed, columns.current)


def join_keys(
    base: pl.LazyFrame, touched: pa.Table, key: tuple[str, ...], how: Literal["semi", "anti"]
) -> pl.LazyFrame:
    keys = as_frame(touched).lazy()
    return base.join(keys, on=list(key), how=how, nulls_equal=True)


def as_frame(table: pa.Table) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(table))
