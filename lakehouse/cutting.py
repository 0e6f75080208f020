"""Cuts: every table's ``current`` brought to one position, and the row in ``cuts`` that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, pairwise
from threading import Lock

import numpy as np
import pyarrow as pa

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse import parquet
from lakehouse.changelog import Changelog
from lakehouse.current import Current
from lakehouse.cuts import Cut, Cuts, Gap
from lakehouse.errors import NOT_OF_ONE_TABLE
from lakehouse.generation import Generation, Hold
from lakehouse.generations import Generations
from lakehouse.side_by_side import THREADS, each
from lakehouse.stored_rows import as_sourced
from lakehouse.tail import Tails


@dataclass(frozen=True, slots=True)
class WrittenTable:
    name: TableName
    changelog: Changelog
    current: Current


@dataclass(frozen=True, slots=True)
class _Step:
    """What one table has to do for a cut."""

    table: WrittenTable
    generations: Generations
    after: Lsn  # changes above this are not in `current` yet
    copied_at: Lsn | None  # the copy among them, if there is one

    def reach(self, to: Lsn) -> Lsn:
        """How far the table may be brought: not into a stretch that only a copy ends."""
        return self.generations.state_at(to)


class Cutting:
    """One cut, or one gap, at a time: ``lock`` is held meanwhile, and by whoever has to keep cuts still."""

    def __init__(
        self,
        cuts: Cuts,
        tables: Callable[[], list[WrittenTable]],
        tails: Tails,
        clock: Callable[[], datetime],
        stretch_rows: int,
    ) -> None:
        self._cuts, self._tables, self._tails = cuts, tables, tails
        self._clock, self._stretch_rows = clock, stretch_rows
        # Threads of its own, so that a long cut never keeps a batch from becoming durable.
        self._applying = ThreadPoolExecutor(THREADS, thread_name_prefix="cut")
        self._gaps: list[Gap] = []  # until there is a cut to tell them with
        self.lock = Lock()

    @property
    def at(self) -> Lsn | None:
        """The newest cut."""
        return self._cuts.at

    def advance(self, to: Lsn, source_time: datetime) -> Cut | None:
        """As `LakeWriter.advance`, for a position that is known to be durable."""
        with self.lock:
            if self.at is not None and to < self.at:
                return None
            steps = self._steps()
            if not steps or any(self._lies_beyond(step, to) for step in steps):
                return None
            versions = dict(each(self._applying, lambda step: self._step_alone(step, to, source_time), steps))
            versions = {name: version for name, version in versions.items() if version >= 0}
            last = self._cuts.last
            gaps = (*self._gaps, *self._holds(to))
            if last and self.at == to and last.versions == versions and not gaps:
                return last
            cut = Cut(to, source_time.astimezone(UTC), self._clock(), versions, gaps)
            self._cuts.append(cut)
            self._gaps.clear()
            return cut

    def record_gap(self, *gaps: Gap) -> None:
        """As `LakeWriter.record_gap`."""
        with self.lock:
            last = self._cuts.last
            if last is None:
                self._gaps += gaps
            elif gaps:
                self._cuts.append(replace(last, written_at=self._clock(), gaps=gaps))

    def open_gaps(self) -> tuple[Gap, ...]:
        """As `LakeWriter.open_gaps`."""
        with self.lock:
            return self._cuts.open_gaps()

    def compact(self) -> int:
        """Merge small files of ``cuts``; how many went."""
        return self._cuts.compact(self.lock)

    def close(self) -> None:
        """Finish the cut at hand."""
        self._applying.shutdown()

    def _steps(self) -> list[_Step]:
        steps = []
        for table in self._tables():
            copied_at, generations = table.changelog.copied_at, table.changelog.generations
            if copied_at is None or not generations.all:
                continue
            table.current.settle()
            if table.current.copied_at is None or table.current.copied_at < copied_at:
                steps.append(_Step(table, generations, copied_at.before(), copied_at))
            else:
                after = max(table.current.at or copied_at, generations.shown_at(self.at or copied_at))
                steps.append(_Step(table, generations, after, None))
        return steps

    def _holds(self, to: Lsn) -> list[Gap]:
        """What the tables' holds leave open, as far as a cut at ``to`` has come and the cuts haven't told it yet."""
        tables = self._tables()
        gaps = [
            Gap(
                table.name,
                held.hold.certain_to,
                held.until if held.until is not None and held.until <= to else None,
                held.hold.reason,
            )
            for table in tables
            for held in table.changelog.generations.held()
            if held.at < to
        ]
        gaps += [
            Gap(table.name, held.hold.certain_to, held.hold.certain_to, f"{held.hold.reason}; replayed since")
            for table in tables
            for held in table.changelog.generations.released()
        ]
        return [gap for gap in _longest(gaps) if gap not in self._cuts.told]

    @staticmethod
    def _lies_beyond(step: _Step, to: Lsn) -> bool:
        at = step.table.current.at
        return (step.copied_at is not None and step.copied_at > to) or (at is not None and at > to)

    def _step_alone(self, step: _Step, to: Lsn, source_time: datetime) -> tuple[TableName, int]:
        try:
            return self._step(step, to, source_time)
        except NOT_OF_ONE_TABLE:
            raise
        except Exception as error:
            self._hold_back(step, f"its changes can't be applied: {error}")
            return step.table.name, step.table.current.version

    def _hold_back(self, step: _Step, reason: str) -> None:
        """From where its state stands; if a copy was to be applied, from there on, too, until somebody asks again."""
        table = step.table
        applied = max(one for one in (table.current.at, self.at, Lsn(0)) if one is not None)
        if step.copied_at is None or applied < step.copied_at.before():
            table.changelog.hold(Lsn(applied.value + 1), Hold(reason, applied))
        if step.copied_at is not None:
            table.changelog.hold(step.copied_at, Hold(reason, step.copied_at.before(), by_itself=False))

    def _step(self, step: _Step, to: Lsn, source_time: datetime) -> tuple[TableName, int]:
        """Generation by generation, because rows of two shapes can't be folded together."""
        table, after, copied_at = step.table, step.after, step.copied_at
        version, reach = table.current.version, step.reach(to)
        for generation, end in step.generations.between(after, reach) if after < reach else ():
            pieces = self._pieces(step, generation, after, end)
            first = next(pieces, None)
            if first is not None or copied_at is not None or generation.from_lsn > step.after:
                rows = chain([] if first is None else [first], pieces)
                columns = step.generations.columns(generation)
                version = table.current.advance(rows, columns, end, source_time, copied_at)
            after, copied_at = end, None
        self._tails.applied(table.name, to)
        return table.name, version

    def _pieces(self, step: _Step, generation: Generation, after: Lsn, to: Lsn) -> Iterator[pa.Table]:
        """What a table has to apply, in order, never more at once than memory is meant to hold."""
        stored, held = self._tails.take(step.table.name, after, to)
        if stored is not None:
            for rows in step.table.changelog.stretches(*stored, self._stretch_rows):
                if rows.num_rows:
                    yield as_sourced(rows, generation, step.generations)
        for parts in _stretches(held, self._stretch_rows):
            yield as_sourced(in_order(parts, step.generations.stored), generation, step.generations)


def _longest(gaps: Iterable[Gap]) -> list[Gap]:
    """One for each beginning, for that is how a gap is known: two holds may have been certain up to the same look."""
    found: dict[tuple[TableName | None, Lsn], Gap] = {}
    for gap in gaps:
        known = found.setdefault((gap.table, gap.from_lsn), gap)
        if known.to_lsn is not None and (gap.to_lsn is None or gap.to_lsn > known.to_lsn):
            found[gap.table, gap.from_lsn] = gap
    return list(found.values())


def _stretches(held: Sequence[pa.Table], rows_each: int) -> Iterator[Sequence[pa.Table]]:
    """Parts to be applied together, about ``rows_each`` rows at a time: more at once takes memory, and isn't cheaper.
    All of them where they don't follow one another.
    """
    spans = [(_place(part, 0), _place(part, -1)) for part in held]
    if any(first <= last for (_, last), (first, _) in pairwise(spans)):
        yield held
        return
    taken: list[pa.Table] = []
    for part in held:
        taken.append(part)
        if sum(one.num_rows for one in taken) >= rows_each:
            yield taken
            taken = []
    if taken:
        yield taken


def _place(rows: pa.Table, index: int) -> tuple[int, int]:
    return rows["_commit_lsn"][index].as_py(), rows["_ordinal"][index].as_py()


def in_order(parts: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Changes of one table with the columns it has by now, in the order (_commit_lsn, _ordinal)."""
    rows = pa.concat_tables([schema.empty_table(), *(parquet.fit(part, schema) for part in parts)])
    lsn, ordinal = (np.asarray(rows[name]) for name in ("_commit_lsn", "_ordinal"))
    later = (lsn[1:] > lsn[:-1]) | ((lsn[1:] == lsn[:-1]) & (ordinal[1:] > ordinal[:-1]))
    if not later.all():  # a copy that came after changes beyond it
        rows = rows.take(pa.array(np.lexsort((ordinal, lsn))))
    return rows.combine_chunks()
