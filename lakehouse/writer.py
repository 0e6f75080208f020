"""The writing side of a lake: batches and copies in, cuts out. One process writes a stream's tables.

Capture appends: every table's changelog first, ``transactions`` last, and only then may a position be confirmed.
Beside it, cuts are made: every table's ``current`` is brought to one position, and a row in ``cuts`` says so. Each
commit carries its own marker, so a crash between any two of them is healed by doing the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from threading import Lock
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from cdc.batch import TRANSACTIONS_SCHEMA, Batch, Part, RawChanges, TableChanges, TableCopy
from cdc.lsn import Lsn
from cdc.relation import Relation, TableName
from lakehouse import parquet
from lakehouse.changelog import Changelog, Staged, StagedCopy
from lakehouse.checkpoints import Checkpoints
from lakehouse.current import Current
from lakehouse.cuts import Cut, Cuts, Gap
from lakehouse.errors import BeyondLake, LakeUnreachable, TwoWriters
from lakehouse.generations import NOTHING_VOUCHED, Generation, Generations, Held, Hold, Vouched
from lakehouse.log import DeltaLog
from lakehouse.names import from_segment
from lakehouse.quarantine import Quarantine
from lakehouse.root import LakeRoot, SharedTable, TableKind, table_path
from lakehouse.stored_rows import as_sourced
from lakehouse.tail import BUDGET_BYTES, Tails
from lakehouse.transactions import Transactions

STRETCH_ROWS = 120_000  # read back at once for a cut: about a row group
THREADS = 4  # commits wait for the store more than they compute

_Result = TypeVar("_Result")

StagedRows: TypeAlias = Mapping[TableName, Staged]
NOTHING_STAGED: StagedRows = MappingProxyType({})


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Table:
    name: TableName
    changelog: Changelog
    current: Current


@dataclass(frozen=True, slots=True)
class _Step:
    """What one table has to do for a cut."""

    table: _Table
    generations: Generations
    after: Lsn  # changes above this are not in `current` yet
    copied_at: Lsn | None  # the copy among them, if there is one

    def reach(self, to: Lsn) -> Lsn:
        """How far the table may be brought: not into a stretch that only a copy ends."""
        return self.generations.state_at(to)


class LakeWriter:
    """``append``, ``append_copy`` may be called from one thread and ``advance`` from another; copies of different
    tables from any number. Every method may raise LakeUnreachable; calling it again then is safe and does what's left.
    """

    def __init__(
        self,
        root: LakeRoot,
        stream: str,
        *,
        tail_bytes: int = BUDGET_BYTES,
        stretch_rows: int = STRETCH_ROWS,
        clock: Callable[[], datetime] = _now,
        copy_on_write: Collection[TableName] = (),
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.root = root
        self._clock = clock
        self._copy_on_write, self._properties = frozenset(copy_on_write), dict(properties)
        self.stream = stream
        self._store = root.store()
        self._checkpoints = Checkpoints(root.storage_options)
        # Apart, so that a long cut never keeps a batch from becoming durable.
        self._appending = ThreadPoolExecutor(THREADS, thread_name_prefix="append")
        self._applying = ThreadPoolExecutor(THREADS, thread_name_prefix="cut")
        self._tails = Tails(tail_bytes)
        self._stretch_rows = stretch_rows
        self._lock = Lock()  # the dict below
        self._cutting = Lock()  # one cut, or one gap, at a time
        self._tables: dict[TableName, _Table] = {}
        self._gaps: list[Gap] = []
        self._transactions = Transactions(self._shared("transactions"), stream)
        self._cuts = Cuts(self._shared("cuts"), stream)
        # Up to which commit a table certainly had the shape that the lake knows; None where nobody watches.
        self.certain_to: Callable[[TableName], Lsn | None] = lambda _: None
        self._quarantine = Quarantine(self._shared("quarantine"))
        _each(self._appending, self._table, self._stored_names())

    @classmethod
    def open(
        cls,
        root: LakeRoot,
        stream: str,
        *,
        copy_on_write: Collection[TableName] = (),
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> LakeWriter:
        """Load what the lake holds. ``copy_on_write``: tables whose readers don't know deletion vectors; ``properties``
        are given to every table of ``current``.

        Raises LakeUnreachable, BucketMissing, LakeFromNewerVersion, CorruptCommit.
        """
        return cls(root, stream, copy_on_write=copy_on_write, properties=properties)

    @property
    def durable_to(self) -> Lsn | None:
        """Every change with a commit LSN below this is in the lake; None before the first batch."""
        return self._transactions.durable_to

    @property
    def reached(self) -> Lsn | None:
        """From where on the stream has to carry on: behind what is durable, or behind the oldest copy before that."""
        if self.durable_to is not None:
            return self.durable_to
        with self._lock:
            copies = [table.changelog.copied_at for table in self._tables.values()]
        oldest = min((lsn for lsn in copies if lsn is not None), default=None)
        return None if oldest is None else Lsn(oldest.value + 1)

    @property
    def source(self) -> Mapping[str, int]:
        """What the lake remembers of the stream's source."""
        return self._transactions.source

    def remember_source(self, source: Mapping[str, int]) -> None:
        """Keep which source this stream comes from; durable when this returns."""
        self._transactions.remember(source)

    def transactions_since(self, lsn: Lsn) -> pa.Table:
        """The lake's transactions with ``commit_lsn >= lsn``, every stream's."""
        return self._transactions.since(lsn)

    @property
    def cut_at(self) -> Lsn | None:
        """The newest cut."""
        return self._cuts.at

    def copied_at(self, name: TableName) -> Lsn | None:
        """The snapshot LSN of the table's newest copy; None if it was never copied."""
        with self._lock:
            table = self._tables.get(name)
        return table.changelog.copied_at if table else None

    def tables(self) -> list[TableName]:
        """Every table that the lake has been told of, by name."""
        with self._lock:
            return sorted(self._tables)

    def newest(self, name: TableName) -> Generation | None:
        """The table's newest generation; None if the lake has never been told of it."""
        with self._lock:
            table = self._tables.get(name)
        return table.changelog.generations.newest if table and table.changelog.generations.all else None

    def held(self, name: TableName) -> Held | None:
        """The hold that a copy has yet to end."""
        with self._lock:
            table = self._tables.get(name)
        found = list(table.changelog.generations.held()) if table else []
        return found[-1] if found and found[-1].until is None else None

    def fits(self, relation: Relation) -> bool:
        """Whether the relation has the shape that its table has by now."""
        with self._lock:
            table = self._tables.get(relation.name)
        if table is None or not table.changelog.generations.all:
            return False
        found = table.changelog.generations
        return found.fits(relation, found.newest.from_lsn) or found.only_texts_join(relation, found.newest.from_lsn)

    def alter(self, relation: Relation, from_lsn: Lsn) -> None:
        """Follow a change of columns that no row has shown. All changes up to ``from_lsn`` must be durable."""
        self._table(relation.name).changelog.alter(relation, from_lsn)

    def hold(self, name: TableName, from_lsn: Lsn, hold: Hold) -> None:
        """Stop bringing the table's state up to date from ``from_lsn`` on, durable at once. A copy ends it."""
        self._table(name).changelog.hold(from_lsn, hold)

    def stage_copied(self, copy: TableCopy) -> StagedCopy:
        """Write some rows of a table's copy into files that no version holds yet; durable with ``append_copy``. From
        any number of threads. Raises NameCollision.
        """
        return self._table(copy.relation.name).changelog.stage_copied(copy)

    def discard_copied(self, name: TableName, staged: Iterable[StagedCopy]) -> None:
        """Take back what was staged of a copy that won't be finished."""
        for one in staged:
            self._table(name).changelog.discard(one)

    def append_copy(self, copy: TableCopy, staged: Sequence[StagedCopy] = (), *, ends_gap: bool = False) -> None:
        """Make a table's copy durable, with what of it is staged. The same copy again, or an older one, does nothing.
        It ends a hold.

        ``ends_gap``: it is what the table has instead of changes that are lost. Changes up to it that are still to come
        are dropped then. Raises NameCollision, CopyOvertaken.
        """
        table, at = self._table(copy.relation.name), copy.snapshot_lsn
        certain = self.certain_to(copy.relation.name) if not ends_gap else None
        if certain is not None and table.changelog.generations.all and not self.fits(copy.relation):
            # The copy alone tells that the columns have changed; nobody else says since when.
            begins = max(self.durable_to or Lsn(0), Lsn(certain.value + 1))
            table.changelog.hold(begins, Hold("its columns have changed", certain))
        self._append(table, lambda: table.changelog.append_copy(copy, staged, ends_gap=ends_gap), at)
        if staged:
            self._tails.doubt(table.name, at)  # what was staged is only in the changelog

    def stage(self, part: Part, staged: StagedRows, vouched: Vouched = NOTHING_VOUCHED) -> StagedRows:
        """Write a part of a large transaction into files that no version holds yet; durable with ``append``.

        Raises NameCollision.
        """

        self._refuse(part.raw, vouched)

        def stage(item: tuple[TableName, list[TableChanges]]) -> tuple[TableName, Staged | None]:
            return item[0], self._table(item[0]).changelog.stage(item[1], staged.get(item[0]), vouched)

        written = _each(self._appending, stage, _by_table(part.tables).items())
        return {**staged, **{name: rows for name, rows in written if rows is not None}}

    def discard(self, staged: StagedRows) -> None:
        """Take back what was staged for a transaction that will come again from its beginning."""
        for name, rows in staged.items():
            self._table(name).changelog.discard(rows)

    def append(self, batch: Batch, staged: StagedRows = NOTHING_STAGED, vouched: Vouched = NOTHING_VOUCHED) -> None:
        """Make a batch durable: every table's changelog, then ``transactions``. Rows that are there already are
        skipped, and so are rows that a table's first copy has covered. Raises NameCollision.

        ``staged``: the parts of the one transaction that this batch ends. They are committed with it.
        """
        self._refuse(batch.raw, vouched)
        changes: dict[TableName, list[TableChanges]] = {**{name: [] for name in staged}, **_by_table(batch.tables)}

        def append(item: tuple[TableName, list[TableChanges]]) -> None:
            name, reaches = item[0], batch.end_lsn.before()
            table, parts = self._table(name), staged.get(name)
            self._append(table, lambda: table.changelog.append(item[1], batch.end_lsn, parts, vouched), reaches)
            if parts:
                self._tails.doubt(name, reaches)  # too much to be kept: what was staged is only in the changelog

        _each(self._appending, append, changes.items())
        self._transactions.append(batch)

    def _refuse(self, raw: Sequence[RawChanges], vouched: Vouched) -> None:
        """What can't be taken is durable as it came before anything else is; its table is held from there on."""
        if not raw:
            return
        self._quarantine.append(raw)
        for one in raw:
            first = Lsn(one.rows["_commit_lsn"][0].as_py())
            self._table(one.name).changelog.refuse(first, one.reason, vouched.certain_of(one.name))

    def quarantined(self, name: TableName) -> list[RawChanges]:
        """What the quarantine holds of a table that is held for its sake, in order."""
        held = self.held(name)
        return [] if held is None or not held.hold.quarantined else list(self._quarantine.held(name, held.at))

    def replay(self, name: TableName, changes: Sequence[TableChanges], *, carried: bool) -> int:
        """Take what the quarantine held, as ``changes``; durable when this returns. Returns how many there were.

        ``carried``: the rows go on from where they stood, without a gap. Otherwise a copy has to say them.
        """
        table = self._table(name)
        with self._cutting:  # cuts made by now lack these changes; the next one has them
            released = Lsn((self.cut_at or Lsn(0)).value + 1) if carried else None
            rows = table.changelog.replay(changes, released)
            self._tails.doubt(name, (self.durable_to or Lsn(0)).before() if self.durable_to else Lsn(0))
        return 0 if rows is None else rows.num_rows

    def advance(self, to: Lsn, source_time: datetime) -> Cut | None:
        """Bring every copied table's ``current`` to ``to``, then write the cut.

        A table whose changes can't be applied holds nobody else: its state stays as it was, a gap says so, and a copy
        heals it; where a copy itself can't be applied, somebody has to ask for the next (``rireki resync``).

        None while that can't be said of every table: a copy's snapshot, or a table's state, lies beyond ``to``, or
        no table has been copied. A cut that is there already is returned as it is. Raises BeyondLake unless
        ``to < durable_to``; TwoWriters.
        """
        durable_to = self.durable_to
        if durable_to is None or to >= durable_to:
            reach = f"below {durable_to}" if durable_to else "to nothing yet"
            raise BeyondLake(f"a cut at {to} was asked for, but the changelogs reach {reach}", subject=self.root.url)
        with self._cutting:
            if self.cut_at is not None and to < self.cut_at:
                return None
            steps = self._steps()
            if not steps or any(self._lies_beyond(step, to) for step in steps):
                return None
            versions = dict(_each(self._applying, lambda step: self._step_alone(step, to, source_time), steps))
            versions = {name: version for name, version in versions.items() if version >= 0}
            last = self._cuts.last
            gaps = (*self._gaps, *self._holds(to))
            if last and self.cut_at == to and last.versions == versions and not gaps:
                return last
            cut = Cut(to, source_time.astimezone(UTC), self._clock(), versions, gaps)
            self._cuts.append(cut)
            self._gaps.clear()
            return cut

    def compact(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Merge what has become many small files, of every table; how many went. To be called from a thread of its own:
        batches and cuts go on meanwhile. Ends early, at a table's end, once ``stopping``. Raises CorruptCommit,
        TwoWriters.
        """
        gone = self._cuts.compact(self._cutting) + self._transactions.compact()
        with self._lock:
            tables = sorted(self._tables.values(), key=lambda table: table.name)
        for table in tables:
            if stopping():
                break
            gone += table.changelog.compact() + table.current.compact(self._cutting)
        return gone

    def record_gap(self, *gaps: Gap) -> None:
        """Tell gaps with the newest cut, durable at once; before the first cut they wait for that."""
        with self._cutting:
            last = self._cuts.last
            if last is None:
                self._gaps += gaps
            elif gaps:
                self._cuts.append(replace(last, written_at=self._clock(), gaps=gaps))

    def open_gaps(self) -> tuple[Gap, ...]:
        """Gaps whose end hasn't been told, those of other streams too."""
        with self._cutting:
            return self._cuts.open_gaps()

    @property
    def is_alone(self) -> bool:
        """No other stream has written to this lake."""
        return self._transactions.streams <= {self.stream}

    def gap_ends(self) -> dict[TableName, Lsn | None]:
        """This stream's tables, each with the copy that ended its newest gap, if it had one."""
        with self._lock:
            tables = list(self._tables.values())
        return {table.name: table.changelog.gap_end for table in tables if table.changelog.copied_at is not None}

    def carry_on_at(self, lsn: Lsn, source_time: datetime) -> None:
        """The stream begins anew at ``lsn``: copies cover what came before. Durable when this returns."""
        begin = self.durable_to or Lsn(0)
        self._transactions.append(Batch(self.stream, begin, lsn, source_time, (), TRANSACTIONS_SCHEMA.empty_table()))

    def close(self) -> None:
        """Finish what is running. The lake needs no closing: a killed process loses nothing."""
        self._appending.shutdown()
        self._applying.shutdown()
        self._checkpoints.close()

    def _steps(self) -> list[_Step]:
        with self._lock:
            tables = sorted(self._tables.values(), key=lambda table: table.name)
        steps = []
        for table in tables:
            copied_at, generations = table.changelog.copied_at, table.changelog.generations
            if copied_at is None or not generations.all:
                continue
            table.current.settle()
            if table.current.copied_at is None or table.current.copied_at < copied_at:
                steps.append(_Step(table, generations, copied_at.before(), copied_at))
            else:
                after = max(table.current.at or copied_at, generations.shown_at(self.cut_at or copied_at))
                steps.append(_Step(table, generations, after, None))
        return steps

    def _holds(self, to: Lsn) -> list[Gap]:
        """What the tables' holds leave open, as far as a cut at ``to`` has come and the cuts haven't told it yet."""
        with self._lock:
            tables = sorted(self._tables.values(), key=lambda table: table.name)
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
        except (LakeUnreachable, TwoWriters, MemoryError):
            raise  # of the lake or of this process, not of the table
        except Exception as error:
            self._hold_back(step, f"its changes can't be applied: {error}")
            return step.table.name, step.table.current.version

    def _hold_back(self, step: _Step, reason: str) -> None:
        """From where its state stands; if a copy was to be applied, from there on, too, until somebody asks again."""
        table = step.table
        applied = max(one for one in (table.current.at, self.cut_at, Lsn(0)) if one is not None)
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
        if held:
            yield as_sourced(in_order(held, step.generations.stored), generation, step.generations)

    def _append(self, table: _Table, append: Callable[[], pa.Table | None], reaches: Lsn) -> None:
        try:
            rows = append()
        except BaseException:
            # The commit may be there all the same; appending again would then add no rows.
            self._tails.doubt(table.name, reaches)
            raise
        if rows is not None:
            self._tails.add(table.name, rows)

    def _table(self, name: TableName) -> _Table:
        with self._lock:
            table = self._tables.get(name)
        if table is None:
            changelog = Changelog(self._log("changelog", name), self.stream)
            current = Current(
                self._log("current", name),
                self.stream,
                copy_on_write=name in self._copy_on_write,
                properties=self._properties,
            )
            table = _Table(name, changelog, current)
            reaches = [lsn for lsn in (changelog.durable_to, changelog.copied_at) if lsn is not None]
            self._tails.open(name, max(reaches, default=Lsn(0)))
            with self._lock:
                table = self._tables.setdefault(name, table)
        return table

    def _stored_names(self) -> list[TableName]:
        names = []
        for schema in self._store.folders("changelog"):
            for table in self._store.folders(f"changelog/{schema}"):
                try:
                    names.append(TableName(from_segment(schema), from_segment(table)))
                except ValueError:
                    continue  # a folder that isn't ours
        return names

    def _log(self, kind: TableKind, name: TableName) -> DeltaLog:
        uri = self.root.uri(kind, name)
        return DeltaLog(self._store, table_path(kind, name), str(name), uri, self._checkpoints)

    def _shared(self, table: SharedTable) -> DeltaLog:
        return DeltaLog(self._store, table, table, self.root.uri_of(table), self._checkpoints, many_streams=True)


def _longest(gaps: Iterable[Gap]) -> list[Gap]:
    """One for each beginning, for that is how a gap is known: two holds may have been certain up to the same look."""
    found: dict[tuple[TableName | None, Lsn], Gap] = {}
    for gap in gaps:
        known = found.setdefault((gap.table, gap.from_lsn), gap)
        if known.to_lsn is not None and (gap.to_lsn is None or gap.to_lsn > known.to_lsn):
            found[gap.table, gap.from_lsn] = gap
    return list(found.values())


def _by_table(changes: Iterable[TableChanges]) -> dict[TableName, list[TableChanges]]:
    found: dict[TableName, list[TableChanges]] = {}
    for one in changes:
        found.setdefault(one.relation.name, []).append(one)
    return found


def _each(threads: ThreadPoolExecutor, work: Callable[[Any], _Result], items: Iterable[Any]) -> list[_Result]:
    """Do it for all, a few at a time; wait for all even if one fails, then raise the first failure."""
    futures = [threads.submit(work, item) for item in items]
    wait(futures)
    return [future.result() for future in futures]


def in_order(parts: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Changes of one table with the columns it has by now, in the order (_commit_lsn, _ordinal)."""
    rows = pa.concat_tables([schema.empty_table(), *(parquet.fit(part, schema) for part in parts)])
    lsn, ordinal = (np.asarray(rows[name]) for name in ("_commit_lsn", "_ordinal"))
    later = (lsn[1:] > lsn[:-1]) | ((lsn[1:] == lsn[:-1]) & (ordinal[1:] > ordinal[:-1]))
    if not later.all():  # a copy that came after changes beyond it
        rows = rows.take(pa.array(np.lexsort((ordinal, lsn))))
    return rows.combine_chunks()
