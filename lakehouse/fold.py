"""Many changes of one table become what they leave behind: rows to hide, rows to add.

Every change takes away a row, adds one, or both; a key is a queue of the rows that carry it. A removal takes the oldest
row of its key: those in the table first, then those that earlier changes in the same batch have added. Counting per key
then says everything, without following any row: of ``r`` removals, the first ``found`` hide rows of the table, the
others cancel the first ``r - found`` additions. Inserts, updates, deletes and copies, key changes and key swaps, and
tables in which equal rows repeat all go the same way. A truncate empties every queue, so what comes before the last one
doesn't matter.

Pure: the rows of the table come in as counts (``Fold.settle``), and nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc.relation import typed_column
from lakehouse.errors import CorruptCommit, RowMissing
from lakehouse.key_hash import Hashes, hash_rows

Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_OPS = pa.array(["insert", "update", "delete", "truncate", "copy"])
_INSERT, _UPDATE, _DELETE, _TRUNCATE, _COPY = range(5)
NOTHING = np.iinfo(np.int64).min  # a row without a predecessor


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of the changes, now that it's known which rows the table holds."""

    hidden: Longs  # per key sought: how many of its oldest rows in the table go
    kept: Longs  # numbers of the changes whose rows stay, in order
    predecessor: Longs  # per change: the change (>= 0) or, as -1-i, the i-th row found in the table, that it replaced


@dataclass(frozen=True, slots=True)
class Fold:
    """The changes since the last truncate, sorted by key. ``sought`` are the keys that lose rows.

    Event arrays run over all removals and additions, sorted by key, then by time.
    """

    cleared: bool  # the table is emptied first
    rows: pa.Table  # the changes after that, in order
    sought: Hashes
    removals: Longs  # per key sought
    _sought_group: Longs
    _event_row: Longs
    _event_adds: Flags
    _event_group: Longs
    _event_rank: Longs  # among the events of the same kind and key
    _event_deficit: Longs  # removals less additions of the key so far: what the table must hold

    def settle(self, found: Longs, table: str, key: Sequence[str]) -> Settled:
        """``found[i]``: how many rows of ``sought[i]`` the table holds, counted up to ``removals[i]``.

        Raises RowMissing, naming the first change that takes away a row which isn't there.
        """
        groups = int(self._event_group[-1]) + 1 if len(self._event_group) else 0
        held = np.zeros(groups, dtype=np.int64)
        removals = np.zeros(groups, dtype=np.int64)
        held[self._sought_group] = found
        removals[self._sought_group] = self.removals
        missing = self._event_row[self._event_deficit > held[self._event_group]]
        if len(missing):
            raise self._row_missing(int(missing.min()), table, key)

        cancelled = np.maximum(removals - held, 0)
        adds = self._event_adds
        stays = self._event_rank[adds] >= cancelled[self._event_group[adds]]
        kept = np.sort(self._event_row[adds][stays])

        first_found = np.zeros(groups, dtype=np.int64)
        first_found[self._sought_group] = np.cumsum(found) - found
        add_rows, add_groups = self._event_row[adds], self._event_group[adds]
        first_add = np.searchsorted(add_groups, np.arange(groups))
        group, rank = self._event_group[~adds], self._event_rank[~adds]
        in_table = rank < held[group]
        predecessor = np.full(self.rows.num_rows, NOTHING, dtype=np.int64)
        taker = self._event_row[~adds]
        predecessor[taker[in_table]] = -1 - (first_found[group] + rank)[in_table]
        predecessor[taker[~in_table]] = add_rows[(first_add[group] + rank - held[group])[~in_table]]
        return Settled(found, kept, predecessor)

    def _row_missing(self, row: int, table: str, key: Sequence[str]) -> RowMissing:
        change = self.rows.slice(row, 1).to_pylist()[0]
        old = change["_key"] or {name: change[name] for name in key}
        where = f"commit {change['_commit_lsn'] >> 32:X}/{change['_commit_lsn'] & 0xFFFFFFFF:X}"
        return RowMissing(f"{change['_op']} at {where} names the row {old}, which the lake doesn't hold", subject=table)


def fold(rows: pa.Table, key: Sequence[str], columns: Sequence[str], table: str) -> Fold:
    """Fold ``rows``: changes of one table in the changelog's shape, ordered by (_commit_lsn, _ordinal).

    ``columns`` are the source's; ``key`` names those that find a row, none for a table whose rows may repeat.
    """
    compared = list(key) or list(columns)
    ops = np.asarray(pc.index_in(rows["_op"], _OPS))
    truncates = np.flatnonzero(ops == _TRUNCATE)
    cleared = len(truncates) > 0
    if cleared:
        rows, ops = rows.slice(truncates[-1] + 1), ops[truncates[-1] + 1 :]
    removing = np.flatnonzero((ops == _UPDATE) | (ops == _DELETE))
    adding = np.flatnonzero((ops == _UPDATE) | (ops == _INSERT) | (ops == _COPY))
    if len(removing) == 0:
        return _only_additions(cleared, rows, adding)

    rows = _with_whole_keys(rows, compared, table)
    after = hash_rows([rows[name] for name in compared], rows.num_rows)
    before = _hashes_before(rows, compared, after)
    hashes = np.concatenate([before[removing], after[adding]])
    event_row = np.concatenate([removing, adding])
    adds = np.repeat([False, True], [len(removing), len(adding)])
    # An update first takes its old row away, then adds the new one.
    order = np.lexsort((event_row * 2 + adds, hashes[:, 1], hashes[:, 0]))
    hashes, event_row, adds = hashes[order], event_row[order], adds[order]

    starts = np.flatnonzero(np.concatenate([[True], (hashes[1:] != hashes[:-1]).any(axis=1)]))
    group = np.cumsum(np.isin(np.arange(len(adds)), starts, assume_unique=True)) - 1
    added, removed = _running(adds, starts, group), _running(~adds, starts, group)
    removals = np.add.reduceat((~adds).astype(np.int64), starts)
    sought = np.flatnonzero(removals)
    return Fold(
        cleared,
        rows,
        hashes[starts[sought]],
        removals[sought],
        sought,
        event_row,
        adds,
        group,
        np.where(adds, added, removed) - 1,
        removed - added,
    )


def _running(flags: Flags, starts: Longs, group: Longs) -> Longs:
    """Within each group, how many flags are set up to and including each event."""
    total = np.cumsum(flags)
    return total - (total[starts] - flags[starts])[group]


def _hashes_before(rows: pa.Table, compared: Sequence[str], after: Hashes) -> Hashes:
    """Key hashes of the rows that each change replaces or deletes."""
    old = rows["_key"].combine_chunks()
    changed = np.flatnonzero(np.asarray(old.is_valid()))
    if len(changed) == 0:
        return after
    old = old.take(pa.array(changed))
    before = after.copy()
    before[changed] = hash_rows([pc.struct_field(old, name) for name in compared], len(changed))
    return before


def _with_whole_keys(rows: pa.Table, compared: Sequence[str], table: str) -> pa.Table:
    """Fill key columns that TOAST left out: the old key says them, because the server logs it whole."""
    for name in compared:
        left_out = unchanged(rows, name)
        if left_out.any():
            old = rows["_key"].combine_chunks()
            if not np.asarray(old.is_valid())[left_out].all():
                lsn = rows["_commit_lsn"][int(np.flatnonzero(left_out)[0])]
                raise CorruptCommit(f"key column {name} left out at {lsn} without the old key", subject=table)
            whole = pc.if_else(pa.array(left_out), pc.struct_field(old, name), rows[name])
            rows = rows.set_column(rows.column_names.index(name), rows.field(name), whole)
    return rows


def unchanged(rows: pa.Table, name: str) -> Flags:
    """Which changes left ``name`` out because TOAST kept its value; a text column goes with the one beside it."""
    lists = rows["_unchanged"].combine_chunks()
    flags = np.zeros(rows.num_rows, dtype=np.bool_)
    names = lists.flatten()
    if len(names):
        flags[np.asarray(pc.list_parent_indices(lists))[np.asarray(pc.equal(names, typed_column(name)))]] = True
    return flags


def _only_additions(cleared: bool, rows: pa.Table, adding: Longs) -> Fold:
    """The shape of copies and of tables that only grow: nothing to compare."""
    none = np.empty(0, dtype=np.int64)
    ranks = np.arange(len(adding))
    return Fold(
        cleared,
        rows,
        np.empty((0, 2), dtype=np.uint64),
        none,
        none,
        adding,
        np.ones(len(adding), dtype=np.bool_),
        ranks,
        np.zeros(len(adding), dtype=np.int64),
        np.full(len(adding), -1, dtype=np.int64),
    )
