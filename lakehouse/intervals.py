"""Changes of one table become intervals: what each row was, from which source commit to which.

    _from_lsn  <= L <  _to_lsn        the row was there as of L; no _to_lsn: it still is
    _valid_from, _valid_to            the same ends by the source's clock, UTC

The fold that makes `current` says of every change which row it took away; that row's interval ends there. So the two
agree by construction: keys that change or swap, equal rows of a table without a key (the oldest leaves first), and
values that TOAST left out. What came and went within one transaction was never there as of any LSN: no interval.

Pure: rows of the table come in through ``find``, and nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc.batch import TIMESTAMP
from lakehouse import parquet
from lakehouse.columns import TableColumns
from lakehouse.fold import Longs, fold
from lakehouse.key_hash import Hashes, hash_rows
from lakehouse.key_index import KeyIndex
from lakehouse.unchanged import whole_rows

ENDS = pa.schema(
    [
        pa.field("_valid_from", TIMESTAMP),
        pa.field("_valid_to", TIMESTAMP),
        pa.field("_from_lsn", pa.int64()),
        pa.field("_to_lsn", pa.int64()),
    ]
)
_BEGINS = {"_commit_lsn": "_from_lsn", "_committed_at": "_valid_from"}

Find = Callable[[Hashes, Longs], tuple[Longs, pa.Table]]
"""Up to ``at_most[i]`` open rows, the oldest, of each key ``hashes[i]``: which was asked for, and its interval."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """``closed`` have both ends; ``opened`` have none yet. Both have the schema ``history_schema``."""

    closed: pa.Table
    opened: pa.Table


def history_schema(columns: TableColumns) -> pa.Schema:
    """Source columns, those of other stretches too, then the ends."""
    return pa.schema([*columns.held, *ENDS])


def pieces(rows: pa.Table) -> Iterator[tuple[pa.Table | None, pa.Table]]:
    """Changes in order, cut at each truncate: (the truncate that comes first, one row or none; the changes after)."""
    at = np.flatnonzero(np.asarray(pc.equal(rows["_op"], "truncate")))
    ends = [*at.tolist(), rows.num_rows]
    yield None, rows.slice(0, ends[0])
    for start, end in pairwise(ends):
        yield rows.slice(start, 1), rows.slice(start + 1, end - start - 1)


def follow(rows: pa.Table, columns: TableColumns, subject: str, find: Find) -> Intervals:
    """What changes without a truncate, in order, leave behind. Raises RowMissing, CorruptCommit."""
    schema = history_schema(columns)
    changes = fold(rows, columns.key, columns.columns, subject)
    asked, held = np.empty(0, dtype=np.int64), schema.empty_table()
    if len(changes.sought):
        asked, held = find(changes.sought, changes.removals)
    counts = np.bincount(asked, minlength=len(changes.sought)).astype(np.int64)
    settled = changes.settle(counts, subject, columns.key or columns.columns)

    is_delete = np.asarray(pc.equal(changes.rows["_op"], "delete"))
    removing = np.flatnonzero(is_delete | np.asarray(pc.equal(changes.rows["_op"], "update")))
    adding = np.flatnonzero(~is_delete)
    whole = whole_rows(
        changes.rows,
        replace(settled, kept=adding),
        columns.source.names,
        lambda which, name: held[name].take(pa.array(which)),
    )
    came = begun(whole, columns)
    place = np.cumsum(~is_delete) - 1  # of an adding change among `came`

    taken = settled.predecessor[removing]
    in_table = taken < 0
    lsn = np.asarray(changes.rows["_commit_lsn"])
    passed, took = taken[~in_table], removing[~in_table]
    lasted = lsn[passed] < lsn[took]
    closed = pa.concat_tables(
        [
            ended(held.take(pa.array(-1 - taken[in_table])), changes.rows.take(pa.array(removing[in_table]))),
            ended(came.take(pa.array(place[passed[lasted]])), changes.rows.take(pa.array(took[lasted]))),
        ]
    )
    return Intervals(closed, came.take(pa.array(place[settled.kept])))


def advance(held: pa.Table, rows: pa.Table, columns: TableColumns, subject: str) -> Intervals:
    """Open intervals and the changes after them, in order, truncates and copies among them: all in memory.

    Raises RowMissing, CorruptCommit.
    """
    closed = [history_schema(columns).empty_table()]
    for truncate, changes in pieces(rows):
        if truncate is not None and truncate["_ordinal"][0].as_py() < 0:
            is_copied = pc.equal(changes["_op"], "copy")
            found = begun(changes.filter(is_copied), columns)
            changes = changes.filter(pc.invert(is_copied))
            known_old, known_new = known_before(row_hashes(held, columns), row_hashes(found, columns))
            closed.append(ended(held.filter(pa.array(~known_old)), truncate))
            held = pa.concat_tables([held.filter(pa.array(known_old)), found.filter(pa.array(~known_new))])
        elif truncate is not None:
            closed.append(lasting(ended(held, truncate)))
            held = held.slice(0, 0)
        taken = np.zeros(held.num_rows, dtype=np.bool_)
        within = follow(changes, columns, subject, _finder(held, taken, columns))
        closed.append(within.closed)
        held = pa.concat_tables([held.filter(pa.array(~taken)), within.opened])
    return Intervals(pa.concat_tables(closed), held)


def row_hashes(rows: pa.Table, columns: TableColumns) -> Hashes:
    """Of whole rows: what is equal in every column that the source has by then is the same row."""
    return hash_rows([rows[name] for name in columns.source.names], rows.num_rows)


def _finder(held: pa.Table, taken: npt.NDArray[np.bool_], columns: TableColumns) -> Find:
    def find(sought: Hashes, at_most: Longs) -> tuple[Longs, pa.Table]:
        oldest_first = np.argsort(np.asarray(held["_from_lsn"]), kind="stable")
        index = KeyIndex()
        compared = columns.key or columns.columns
        index.add(hash_rows([held[name] for name in compared], held.num_rows)[oldest_first], 0, oldest_first)
        located = index.locate(sought, at_most)
        taken[located.row] = True
        return located.asked, held.take(pa.array(located.row))

    return find


def begun(changes: pa.Table, columns: TableColumns) -> pa.Table:
    """Rows of the changelog as intervals that begin with them and have no end."""
    renamed = changes.rename_columns([_BEGINS.get(name, name) for name in changes.column_names])
    return parquet.fit(renamed, history_schema(columns))


def ended(rows: pa.Table, by: pa.Table) -> pa.Table:
    """``rows``, each ended by the change in the same place of ``by``; one change ends all of them."""
    ends = by.select(["_committed_at", "_commit_lsn"])
    if by.num_rows == 1 and rows.num_rows != 1:
        ends = ends.take(pa.array(np.zeros(rows.num_rows, dtype=np.int64)))
    for name, end in (("_valid_to", ends["_committed_at"]), ("_to_lsn", ends["_commit_lsn"])):
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), end)
    return rows


def lasting(rows: pa.Table) -> pa.Table:
    """Without those that ended in the commit in which they began."""
    return rows.filter(pc.less(rows["_from_lsn"], rows["_to_lsn"]))


def known_before(old: Hashes, new: Hashes) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which of the ``old`` rows a copy found again, and which of its ``new`` rows were there before; one for one."""
    hashes = np.concatenate([old, new])
    is_new = np.arange(len(hashes)) >= len(old)
    order = np.lexsort((is_new, hashes[:, 1], hashes[:, 0]))
    hashes, is_new = hashes[order], is_new[order]
    first = np.ones(len(hashes), dtype=np.bool_)
    first[1:] = (hashes[1:] != hashes[:-1]).any(axis=1)
    group = np.cumsum(first) - 1
    news = np.bincount(group, weights=is_new, minlength=group[-1] + 1 if len(group) else 0).astype(np.int64)
    olds = np.bincount(group, minlength=len(news)).astype(np.int64) - news
    rank = np.arange(len(hashes)) - np.flatnonzero(first)[group] - np.where(is_new, olds[group], 0)
    known = np.empty(len(hashes), dtype=np.bool_)
    known[order] = rank < np.minimum(olds, news)[group]
    return known[: len(old)], known[len(old) :]
