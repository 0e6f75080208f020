"""Bringing `history` up to the newest cut: changes in stretches, copies by themselves, one commit for each.

It may be stopped and started again anywhere: every commit carries how far it came. A copy that turns up behind what was
built (it took longer than the stream) says that the changes before it didn't tell all: then everything is built anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.checkpoints import Checkpoints
from lakehouse.history import History
from lakehouse.log import DeltaLog
from lakehouse.root import LakeRoot, table_path
from lakehouse.stored_changes import StoredChanges

STRETCH_ROWS = 1_000_000  # changes held in memory at a time


@dataclass(frozen=True, slots=True)
class Built:
    """What one build did."""

    table: TableName
    from_lsn: Lsn | None  # None: from the beginning
    to_lsn: Lsn
    rebuilt: bool  # what was there before was thrown away


def build_history(
    root: LakeRoot,
    name: TableName,
    to: Lsn,
    *,
    rebuild: bool = False,
    stretch_rows: int = STRETCH_ROWS,
    on_commit: Callable[[Lsn], None] = lambda _: None,
) -> Built:
    """Build one table's history up to ``to``, a cut that holds the table. What is there already is left alone.

    Only one process may build a table's history. Raises TwoWriters when another does; UnknownTable; CorruptCommit,
    RowMissing.
    """
    checkpoints = Checkpoints(root.storage_options)
    try:
        changes = StoredChanges.read(root, name)
        log = DeltaLog(root.store(), table_path("history", name), str(name), root.uri("history", name), checkpoints)
        history = History(log, changes.generations)
        before = history.built_to
        right_to = history.is_right_to
        stale = before is not None and (
            _knows_other_copies(history, changes, before) or (right_to is not None and right_to < before)
        )
        if before is not None and (rebuild or stale):
            history.forget()
        start = history.built_to
        for end in _advance(history, changes, to, stretch_rows):
            on_commit(end)
        history.compact()
        return Built(name, start, to, before is not None and start is None)
    finally:
        checkpoints.close()


def _knows_other_copies(history: History, changes: StoredChanges, built_to: Lsn) -> bool:
    known = {copy.lsn for copy in history.copies}
    # What retention took from the changelog, history alone remembers.
    return not known.issuperset(changes.copies(Lsn(0), built_to))


def _advance(history: History, changes: StoredChanges, to: Lsn, stretch_rows: int) -> Iterator[Lsn]:
    built = history.built_to or Lsn(0)
    if built >= to:
        return
    generations = changes.generations
    for copy in changes.copies(built, to):
        yield from _changes(history, changes, copy.before(), stretch_rows)
        (truncate,) = (rows for part in changes.copied(copy) if len(rows := part.filter(pc.field("_ordinal") == -1)))
        if generations.held_at(copy) is not None:
            history.pass_over(copy, truncate)
        else:
            columns = generations.stored_columns(generations.at(copy))
            history.copy(truncate, lambda at=copy: _rows_of_copy(changes, at), copy, columns)  # type: ignore[misc]
        yield copy
    yield from _changes(history, changes, to, stretch_rows)


def _changes(history: History, changes: StoredChanges, to: Lsn, stretch_rows: int) -> Iterator[Lsn]:
    """Generation by generation, because rows of two shapes can't be folded together."""
    built, generations = history.built_to, changes.generations
    if built is None or built >= to:
        return  # nothing comes before the first copy
    for generation, reach in generations.between(built, to):
        columns = generations.stored_columns(generation)
        held = generations.held_at(reach) is not None  # the state stays as it was; a copy will say it anew
        for end, rows in [(reach, None)] if held else changes.stretches(built, reach, stretch_rows):
            if rows is not None and rows.num_rows:
                history.apply(rows, end, columns)
            else:
                history.reach(end)
            yield end
        built = reach


def _rows_of_copy(changes: StoredChanges, at: Lsn) -> Iterator[pa.Table]:
    for part in changes.copied(at):
        yield part.filter(pc.field("_op") == "copy")
