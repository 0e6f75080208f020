"""The writing side of a lake: batches and copies in, cuts (`cutting`) out. One process writes a stream's tables.

Capture appends: every table's changelog first, ``transactions`` last, and only then may a position be confirmed.
Beside it, cuts are made: every table's ``current`` is brought to one position, and a row in ``cuts`` says so. Each
commit carries its own marker, so a crash between any two of them is healed by doing the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock
from types import MappingProxyType
from typing import TypeAlias

import pyarrow as pa

from cdc.batch import TRANSACTIONS_SCHEMA, Batch, Part, RawChanges, TableChanges, TableCopy
from cdc.lsn import Lsn
from cdc.relation import Relation, TableName
from lakehouse.changelog import Changelog, Staged, StagedCopy
from lakehouse.checkpoints import Checkpoints
from lakehouse.current import Current
from lakehouse.cuts import Cut, Cuts, Gap
from lakehouse.cutting import Cutting, WrittenTable
from lakehouse.errors import NOT_OF_ONE_TABLE, BeyondLake, NameCollision
from lakehouse.generation import NOTHING_VOUCHED, Generation, Held, Hold, Vouched
from lakehouse.log import DeltaLog
from lakehouse.names import from_segment
from lakehouse.quarantine import Quarantine
from lakehouse.root import LakeRoot, SharedTable, TableKind, table_path
from lakehouse.side_by_side import THREADS, each
from lakehouse.tail import BUDGET_BYTES, Tails
from lakehouse.transactions import Transactions

STRETCH_ROWS = 120_000  # read back at once for a cut: about a row group

StagedRows: TypeAlias = Mapping[TableName, Staged]
NOTHING_STAGED: StagedRows = MappingProxyType({})


def _now() -> datetime:
    return datetime.now(UTC)


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
        self._copy_on_write, self._properties = frozenset(copy_on_write), dict(properties)
        self.stream = stream
        self._store = root.store()
        self._checkpoints = Checkpoints(root.storage_options)
        self._appending = ThreadPoolExecutor(THREADS, thread_name_prefix="append")
        self._tails = Tails(tail_bytes)
        self._lock = Lock()  # the dict below
        self._tables: dict[TableName, WrittenTable] = {}
        self._transactions = Transactions(self._shared("transactions"), stream)
        self._cutting = Cutting(Cuts(self._shared("cuts"), stream), self._written, self._tails, clock, stretch_rows)
        # Up to which commit a table certainly had the shape that the lake knows; None where nobody watches.
        self.certain_to: Callable[[TableName], Lsn | None] = lambda _: None
        # Copies whose snapshot lies before it don't show a table as it is known to be by now.
        self.overtaken_to: Callable[[TableName], Lsn | None] = lambda _: None
        self._quarantine = Quarantine(self._shared("quarantine"))
        each(self._appending, self._table, self._stored_names())

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
        return self._cutting.at

    @property
    def must_cut_soon(self) -> bool:
        """What no cut has is half of what memory should hold of it; beyond that a cut reads it back."""
        return self._tails.is_half_full

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

    def await_commit(self, name: TableName) -> None:
        """Return once nothing is being committed to the table's changelog."""
        with self._lock:
            table = self._tables.get(name)
        if table is not None:
            table.changelog.await_commit()

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

        def overtaken_to() -> Lsn | None:
            return self.overtaken_to(table.name)

        # Before the commit, because a cut may look for the copy as soon as it is there.
        self._tails.doubt(table.name, at)
        table.changelog.append_copy(copy, staged, overtaken_to, ends_gap=ends_gap)

    def stage(self, part: Part, staged: StagedRows, vouched: Vouched = NOTHING_VOUCHED) -> StagedRows:
        """Write a part of a large transaction into files that no version holds yet; durable with ``append``.

        What one table can't take goes to the quarantine, as with ``append``. Raises NameCollision.
        """

        self._refuse(part.raw, vouched)

        def stage(item: tuple[TableName, list[TableChanges]]) -> tuple[TableName, Staged | None]:
            name, changes = item
            table, parts = self._table(name), staged.get(name)
            try:
                return name, table.changelog.stage(changes, parts, vouched)
            except (NameCollision, *NOT_OF_ONE_TABLE):
                raise
            except Exception as error:
                self._put_aside(table, changes, error, vouched)
                return name, parts

        written = each(self._appending, stage, _by_table(part.tables).items())
        return {**staged, **{name: rows for name, rows in written if rows is not None}}

    def discard(self, staged: StagedRows) -> None:
        """Take back what was staged for a transaction that will come again from its beginning."""
        for name, rows in staged.items():
            self._table(name).changelog.discard(rows)

    def append(self, batch: Batch, staged: StagedRows = NOTHING_STAGED, vouched: Vouched = NOTHING_VOUCHED) -> None:
        """Make a batch durable: every table's changelog, then ``transactions``. Rows that are there already are
        skipped, and so are rows that a table's first copy has covered. What one table can't take goes to the
        quarantine and holds that table; no other waits for it. Raises NameCollision: such changes come as ``raw``.

        ``staged``: the parts of the one transaction that this batch ends. They are committed with it.
        """
        self._refuse(batch.raw, vouched)
        changes: dict[TableName, list[TableChanges]] = {**{name: [] for name in staged}, **_by_table(batch.tables)}

        def append(item: tuple[TableName, list[TableChanges]]) -> None:
            name, reaches = item[0], batch.end_lsn.before()
            table, parts = self._table(name), staged.get(name)
            try:
                self._append(table, lambda: table.changelog.append(item[1], batch.end_lsn, parts, vouched), reaches)
            except (NameCollision, *NOT_OF_ONE_TABLE):
                raise
            except Exception as error:
                self._put_aside(table, item[1], error, vouched)
                if parts:  # these were written before
                    table.changelog.append([], batch.end_lsn, parts, vouched)
            if parts:
                self._tails.doubt(name, reaches)  # too much to be kept: what was staged is only in the changelog

        each(self._appending, append, changes.items())
        self._transactions.append(batch)

    def _refuse(self, raw: Sequence[RawChanges], vouched: Vouched) -> None:
        """What can't be taken is durable as it came before anything else is; its table is held from there on."""
        if not raw:
            return
        self._quarantine.append(raw)
        for one in raw:
            first = Lsn(one.rows["_commit_lsn"][0].as_py())
            self._table(one.name).changelog.refuse(first, one.reason, vouched.certain_of(one.name))

    def _put_aside(
        self, table: WrittenTable, changes: Sequence[TableChanges], error: Exception, vouched: Vouched
    ) -> None:
        """What a table's changelog can't take is durable in the quarantine instead, and holds the table. Raises
        ``error`` where there is nothing to hold.
        """
        lacking = table.changelog.lacking(changes)
        if not lacking or not table.changelog.generations.all:
            raise error
        reason = f"its changes can't be written: {error}"
        self._quarantine.append_decoded(lacking, reason)
        first = min(Lsn(one.rows["_commit_lsn"][0].as_py()) for one in lacking)
        as_before = all(self.fits(one.relation) for one in lacking)
        table.changelog.refuse(first, reason, first.before() if as_before else vouched.certain_of(table.name))

    def quarantined(self, name: TableName) -> list[RawChanges | TableChanges]:
        """What the quarantine holds of a table that is held for its sake, in order."""
        held = self.held(name)
        return [] if held is None or not held.hold.quarantined else self._quarantine.held(name, held.at)

    def replay(self, name: TableName, changes: Sequence[TableChanges], *, carried: bool) -> int:
        """Take what the quarantine held, as ``changes``; durable when this returns. Returns how many there were.

        ``carried``: the rows go on from where they stood, without a gap. Otherwise a copy has to say them.
        """
        table = self._table(name)
        with self._cutting.lock:  # cuts made by now lack these changes; the next one has them
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
        return self._cutting.advance(to, source_time)

    def compact(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Merge what has become many small files, of every table; how many went. To be called from a thread of its own:
        batches and cuts go on meanwhile. Ends early, at a table's end, once ``stopping``. Raises CorruptCommit,
        TwoWriters.
        """
        gone = self._cutting.compact() + self._transactions.compact()
        for table in self._written():
            if stopping():
                break
            gone += table.changelog.compact() + table.current.compact(self._cutting.lock)
        return gone

    def record_gap(self, *gaps: Gap) -> None:
        """Tell gaps with the newest cut, durable at once; before the first cut they wait for that."""
        self._cutting.record_gap(*gaps)

    def open_gaps(self) -> tuple[Gap, ...]:
        """Gaps whose end hasn't been told, those of other streams too."""
        return self._cutting.open_gaps()

    @property
    def is_alone(self) -> bool:
        """No other stream has written to this lake."""
        return self._transactions.streams <= {self.stream}

    def gap_ends(self) -> dict[TableName, Lsn | None]:
        """This stream's tables, each with the copy that ended its newest gap, if it had one."""
        tables = self._written()
        return {table.name: table.changelog.gap_end for table in tables if table.changelog.copied_at is not None}

    def carry_on_at(self, lsn: Lsn, source_time: datetime) -> None:
        """The stream begins anew at ``lsn``: copies cover what came before. Durable when this returns."""
        begin = self.durable_to or Lsn(0)
        self._transactions.append(Batch(self.stream, begin, lsn, source_time, (), TRANSACTIONS_SCHEMA.empty_table()))

    def close(self) -> None:
        """Finish what is running. The lake needs no closing: a killed process loses nothing."""
        self._appending.shutdown()
        self._cutting.close()
        self._checkpoints.close()

    def _written(self) -> list[WrittenTable]:
        """This stream's tables: those of another have their own writer."""
        with self._lock:
            ours = [table for table in self._tables.values() if not table.changelog.is_foreign]
        return sorted(ours, key=lambda table: table.name)

    def _append(self, table: WrittenTable, append: Callable[[], pa.Table | None], reaches: Lsn) -> None:
        try:
            rows = append()
        except BaseException:
            # The commit may be there all the same; appending again would then add no rows.
            self._tails.doubt(table.name, reaches)
            raise
        if rows is not None:
            self._tails.add(table.name, rows)

    def _table(self, name: TableName) -> WrittenTable:
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
            table = WrittenTable(name, changelog, current)
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


def _by_table(changes: Iterable[TableChanges]) -> dict[TableName, list[TableChanges]]:
    found: dict[TableName, list[TableChanges]] = {}
    for one in changes:
        found.setdefault(one.relation.name, []).append(one)
    return found
