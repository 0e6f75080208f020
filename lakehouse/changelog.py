"""The table ``changelog``: every change of one source table, append-only. It is the truth; all else can be rebuilt.

Rows have the shape that ``cdc.batch`` gives, plus ``_commit_date``, the partition; columns are named as
`lakehouse.generations` stores them. The position that the rows reach is a marker in the same Delta commit, so a batch
that comes again after a crash is recognised by the table itself.

Properties: ``rireki.name``, ``rireki.generations``, ``rireki.key`` and ``rireki.columns`` (those of the newest
generation), and, once copied, ``rireki.firstCopy`` (the LSN from which the table's rows are whole) and
``rireki.lastCopy``. ``rireki.gapEnd`` is the LSN of the copy that ended the newest gap: of changes inside the gap only
a part could be had, so none is kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdc.batch import TableChanges, TableCopy
from cdc.lsn import Lsn
from cdc.relation import Relation
from lakehouse import generations, parquet
from lakehouse.columns import COMMIT_DATE
from lakehouse.compaction import compact_in_order
from lakehouse.errors import CopyOvertaken, CorruptCommit
from lakehouse.generation import NOTHING_VOUCHED, Generation, Hold, StoredColumn, Vouched
from lakehouse.generations import Generations
from lakehouse.log import DeltaLog, marker
from lakehouse.stored_rows import as_stored
from lakehouse.table_state import Action, LiveFile

_COPIES = "rireki/copy/"
_BOUNDED = ("_commit_lsn", "_ordinal", "_committed_at")


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows of a transaction that hasn't come to its end: in files already, and in no version of the table yet."""

    before: Generations  # what the table had when the first of them was staged
    generations: Generations  # what it has with them
    files: tuple[LiveFile, ...]


@dataclass(frozen=True, slots=True)
class StagedCopy:
    """Some rows of a copy: in files already, and in no version of the table yet."""

    columns: tuple[StoredColumn, ...]  # under which names the rows are stored
    files: tuple[LiveFile, ...]


class Changelog:
    """The writing side of one table's changelog. ``generations`` is empty until the table exists."""

    def __init__(self, log: DeltaLog, stream: str) -> None:
        self._log = log
        self._stream = f"rireki/{stream}"
        self._copies = _COPIES + stream
        self._lock = Lock()  # one thread appends, another reads back
        self.generations: Generations = generations.NONE
        self._reload()

    @property
    def durable_to(self) -> Lsn | None:
        """Every change with a commit LSN below this is in the table."""
        return _lsn(self._log.marker(self._stream))

    @property
    def copied_at(self) -> Lsn | None:
        """The newest copy's snapshot."""
        return _lsn(self._log.marker(self._copies))

    @property
    def is_foreign(self) -> bool:
        """Another stream has copied the table, and this one hasn't."""
        return self.copied_at is None and any(name.startswith(_COPIES) for name in self._log.state.markers)

    @property
    def first_copy(self) -> Lsn | None:
        text = self._log.state.properties.get("rireki.firstCopy")
        return None if text is None else Lsn.parse(text)

    @property
    def gap_end(self) -> Lsn | None:
        """The copy that ended the newest gap."""
        text = self._log.state.properties.get("rireki.gapEnd")
        return None if text is None else Lsn.parse(text)

    def stage(
        self, changes: Sequence[TableChanges], staged: Staged | None, vouched: Vouched = NOTHING_VOUCHED
    ) -> Staged | None:
        """Write changes that aren't here yet into files, to be committed behind those in ``staged``.

        Raises NameCollision before anything is written.
        """
        with self._lock:
            self._settle()
            rows, found = self._new_rows(changes, staged, vouched)
            if rows is None:
                return staged
            before, files = (staged.before, staged.files) if staged else (self.generations, ())
            return Staged(before, found, (*files, *self._written(rows, found)))

    def append(
        self,
        changes: Sequence[TableChanges],
        end_lsn: Lsn,
        staged: Staged | None = None,
        vouched: Vouched = NOTHING_VOUCHED,
    ) -> pa.Table | None:
        """Append a batch's changes of this table, those that aren't here yet, and what was staged for it, in one
        commit; durable when this returns.

        A relation in another shape begins a generation. Returns the rows appended besides those staged, None if there
        was nothing. Raises NameCollision before anything is written.
        """
        with self._lock:
            self._settle()
            rows, found = self._new_rows(changes, staged, vouched)
            if rows is None and staged is None:
                return None
            markers = [marker(self._stream, end_lsn.value)]
            rows = found.stored.empty_table() if rows is None else rows
            self._commit(rows, found, markers, {}, staged.files if staged else ())
            return rows

    def stage_copied(self, copy: TableCopy) -> StagedCopy:
        """Write some of a copy's rows into files, to be committed by ``append_copy``. From any thread, side by side.

        Raises NameCollision.
        """
        with self._lock:
            self._settle()
            found = self._with_copy(copy)
        generation = found.at(copy.snapshot_lsn)
        return StagedCopy(
            generation.columns, tuple(self._written(as_stored(copy.rows, generation, found.stored), found))
        )

    def discard(self, staged: Staged | StagedCopy) -> None:
        """Take back what was staged and won't be committed."""
        for file in staged.files:
            self._log.store.remove(f"{self._log.path}/{file.path}")

    def append_copy(
        self,
        copy: TableCopy,
        staged: Sequence[StagedCopy] = (),
        overtaken_to: Callable[[], Lsn | None] = lambda: None,
        *,
        ends_gap: bool = False,
    ) -> pa.Table | None:
        """Append a copy's rows, and those of it that are staged, in one commit, unless this copy, or a later one, is
        here already. It ends a hold. Raises CopyOvertaken where staged rows are stored otherwise than is right by now,
        or the snapshot lies before ``overtaken_to``, asked when nobody else can commit.
        """
        with self._lock:
            return self._append_copy(copy, staged, overtaken_to, ends_gap)

    def await_commit(self) -> None:
        """Return once nothing is being committed."""
        with self._lock:
            pass

    def alter(self, relation: Relation, from_lsn: Lsn) -> None:
        """Begin a generation without a row to show it. Every change up to ``from_lsn`` must be here, and be carried."""
        with self._lock:
            self._settle()
            if not self.generations.fits(relation, from_lsn):
                found = self.generations.beginning(relation, from_lsn)
                self._commit(found.stored.empty_table(), found, [], {})

    def hold(self, from_lsn: Lsn, hold: Hold) -> None:
        """Let the state stay as it was before ``from_lsn`` until a copy follows. Does nothing within another hold, but
        for what is quarantined: the copy that ends the other may lie before it.
        """
        with self._lock:
            self._settle()
            found = self.generations
            other = found.held_at(from_lsn)
            if other is None or (hold.quarantined and not found.is_quarantined(from_lsn)):
                held = found.holding(from_lsn, hold)
                if self.copied_at is not None and self.copied_at > from_lsn:
                    held = held.ended_by(self.copied_at, found)
                self._commit(found.stored.empty_table(), held, [], {})

    def lacking(self, changes: Sequence[TableChanges]) -> list[TableChanges]:
        """Those of the changes that aren't here yet."""
        with self._lock:
            self._settle()
            found = [replace(one, rows=self._not_here_yet(one.rows)) for one in changes]
        return [one for one in found if one.rows.num_rows]

    def refuse(self, from_lsn: Lsn, reason: str, certain: Lsn) -> None:
        """Hold the table because its changes from there on can't be taken: they are in the quarantine."""
        with self._lock:
            self._settle()
            known = max(certain, self._last_row_before(from_lsn)) if self.generations.all else certain
        self.hold(from_lsn, Hold(reason, min(known, from_lsn.before()), by_itself=False, quarantined=True))

    def replay(self, changes: Sequence[TableChanges], released: Lsn | None) -> pa.Table | None:
        """Take what the quarantine held, in order; durable, all of it, when this returns. None: nothing is held there.

        ``released``: see `Generations.replayed`.
        """
        known = self._places(changes)
        with self._lock:
            self._settle()
            if not any(one.hold.quarantined for one in self.generations.held()):
                return None
            shapes = [(Lsn(one.rows["_commit_lsn"][0].as_py()), one.relation) for one in changes]
            found = self.generations.replayed(shapes, released)
            parts = [
                as_stored(_but(one.rows, known), found.at(from_lsn), found.stored)
                for one, (from_lsn, _) in zip(changes, shapes, strict=True)
            ]
            rows = pa.concat_tables(parts)
            self._commit(rows, found, [], {})
            return rows

    def _places(self, changes: Sequence[TableChanges]) -> set[tuple[int, int]]:
        """Where in the log the changes lie that are here already: a part of what was put aside may have come again,
        after a crash, in a batch that could be taken.
        """
        lsns = [one.rows["_commit_lsn"] for one in changes if one.rows.num_rows]
        if not lsns or not self.generations.all:
            return set()
        first, last = min(lsn[0].as_py() for lsn in lsns), max(lsn[-1].as_py() for lsn in lsns)
        return {
            place
            for rows in self.stretches(Lsn(first).before(), Lsn(last), 1 << 17)
            for place in _places_of(rows.filter(pc.field("_xid").is_valid()))  # a copy's rows have none
        }

    def compact(self) -> int:
        """Merge small files of one day; how many went. Appending isn't kept waiting."""
        found = self.generations
        key = found.stored_columns(found.newest).key if found.all else ()
        return compact_in_order(
            self._log, self._lock, lambda: self.generations.stored, ("_commit_lsn", "_ordinal"), _span, _BOUNDED, key
        )

    def stretches(self, after: Lsn, to: Lsn, rows_each: int) -> Iterator[pa.Table]:
        """The changes with ``after < _commit_lsn <= to``, in order and in the stored shape, about ``rows_each`` at a
        time; transactions are not kept together. Reads only files that hold such rows.
        """
        with self._lock:
            self._settle()
            schema, files = self.generations.stored, list(self._log.state.files.values())
        if not self.generations.all:
            raise CorruptCommit("its changelog isn't there", subject=self._log.subject)
        within = (pc.field("_commit_lsn") > after.value) & (pc.field("_commit_lsn") <= to.value)
        held: list[pa.Table] = []
        for rows in self._ordered([file for file in files if _overlaps(file, after, to)], schema):
            held.append(rows.filter(within))
            if sum(part.num_rows for part in held) >= rows_each:
                yield pa.concat_tables(held)
                held = []
        if held:
            yield pa.concat_tables(held)

    def _ordered(self, files: Sequence[LiveFile], schema: pa.Schema) -> Iterator[pa.Table]:
        """The files' rows in order: a row group at a time, but for files that overlap one another in the order."""
        spans = sorted(((*_span(file), file.path) for file in files), key=lambda span: span[:2])
        read = partial(parquet.read_groups, self._log.store, self._log.path, schema=schema)
        start = 0
        while start < len(spans):
            end, last = start + 1, spans[start][1]
            while end < len(spans) and spans[end][0] <= last:
                end, last = end + 1, max(last, spans[end][1])
            if end == start + 1:
                yield from read(spans[start][2])
            else:  # a copy that came after changes beyond it
                parts = [group for _, _, path in spans[start:end] for group in read(path)]
                yield pa.concat_tables(parts).sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])
            start = end

    def _new_rows(
        self, changes: Sequence[TableChanges], staged: Staged | None, vouched: Vouched
    ) -> tuple[pa.Table | None, Generations]:
        """The changes that aren't here yet, as they are stored, and the generations that the table has with them."""
        found = self.generations if staged is None else self._with_staged(staged)
        before: Lsn | None = None  # the last row's commit; what is staged is of the same commit as what follows
        parts = list[tuple[Generation, pa.Table]]()
        for relation, rows in _in_runs([(one.relation, self._not_here_yet(one.rows)) for one in changes]):
            from_lsn = Lsn(rows["_commit_lsn"][0].as_py())
            if not found.all:
                found = found.beginning(relation, from_lsn)
            elif not found.fits(relation, from_lsn):
                before = before or (self._last_row_before(from_lsn) if staged is None else from_lsn)
                hold = self._hold(found, relation, from_lsn, before, vouched)
                found = found.beginning(relation, from_lsn, hold=hold).ended_by(self.copied_at, found)
            parts.append((found.at(from_lsn), rows))
            before = Lsn(rows["_commit_lsn"][-1].as_py())
        if not parts:
            return None, found
        return pa.concat_tables([as_stored(rows, generation, found.stored) for generation, rows in parts]), found

    def _with_staged(self, staged: Staged) -> Generations:
        """What was staged, and what else has become known of the table since."""
        if staged.before == self.generations:
            return staged.generations
        return self.generations.joined(staged.before, staged.generations, self._log.subject)

    @staticmethod
    def _hold(found: Generations, relation: Relation, from_lsn: Lsn, before: Lsn, vouched: Vouched) -> Hold | None:
        if found.only_texts_join(relation, from_lsn):
            return None
        if before >= from_lsn:
            return Hold("columns changed inside a transaction", from_lsn.before())
        reason = found.carries(relation, from_lsn, vouched=relation in vouched.relations)
        certain = max(before, vouched.certain_of(relation.name))
        return None if reason is None else Hold(reason, min(certain, from_lsn.before()))

    def _append_copy(
        self, copy: TableCopy, staged: Sequence[StagedCopy], overtaken_to: Callable[[], Lsn | None], ends_gap: bool
    ) -> pa.Table | None:
        self._settle()
        at = copy.snapshot_lsn
        if self.copied_at is not None and self.copied_at >= at:
            live = self._log.state.files
            for one in staged:  # unless they are of this very copy, whose answer was lost
                if self.copied_at > at and not any(file.path in live for file in one.files):
                    self.discard(one)
            return None
        if (changed := overtaken_to()) is not None and at < changed:
            raise CopyOvertaken("it changed while it was copied; it is copied again", subject=self._log.subject)
        found = self._with_copy(copy)
        stored = {column.name: column for column in found.at(at).columns}
        if any(stored.get(column.name) != column for one in staged for column in one.columns):
            raise CopyOvertaken(
                "its columns changed while it was copied; it is copied again", subject=self._log.subject
            )
        rows = as_stored(copy.rows, found.at(at), found.stored)
        properties = {"rireki.lastCopy": str(at)}
        if self.first_copy is None:
            properties["rireki.firstCopy"] = str(at)
        if ends_gap:
            properties["rireki.gapEnd"] = str(at)
        self._commit(
            rows, found, [marker(self._copies, at.value)], properties, [f for one in staged for f in one.files]
        )
        return rows

    def _with_copy(self, copy: TableCopy) -> Generations:
        found, at = self.generations, copy.snapshot_lsn
        if not found.all or not found.fits(copy.relation, at) or found.held_at(at) is not None:
            return found.beginning(copy.relation, at, copied=True)
        return found

    def _not_here_yet(self, rows: pa.Table) -> pa.Table:
        reached = self.durable_to or Lsn(0)
        for copy in (self.first_copy, self.gap_end):
            if copy is not None:
                reached = max(reached, Lsn(copy.value + 1))
        if not rows.num_rows or rows["_commit_lsn"][0].as_py() >= reached.value:  # they are in order
            return rows
        return rows.filter(pc.greater_equal(rows["_commit_lsn"], reached.value))

    def _commit(
        self,
        rows: pa.Table,
        found: Generations,
        markers: list[Action],
        properties: dict[str, str],
        staged: Sequence[LiveFile] = (),
    ) -> None:
        log = self._log
        properties = found.properties | properties
        schema = found.stored.append(pa.field(COMMIT_DATE, pa.date32()))
        shape: list[Action] = []
        if not log.state.exists:
            names = {"rireki.name": log.subject, "rireki.kind": "changelog"}
            shape = log.creation(schema, names | properties, partition_by=[COMMIT_DATE])
        elif found != self.generations or properties.items() - log.state.properties.items():
            shape = [log.altered(schema, properties)]
        actions = [*shape, *markers, *(file.add() for file in (*staged, *self._written(rows, found)))]
        log.commit(actions, {"operation": "WRITE", "operationParameters": {"mode": "Append"}})
        self.generations = found

    def _last_row_before(self, lsn: Lsn) -> Lsn:
        """A commit up to which the stream has shown the shape before."""
        greatest = (json.loads(file.stats)["maxValues"]["_commit_lsn"] for file in self._log.state.files.values())
        return Lsn(max((one for one in greatest if one < lsn.value), default=self.generations.at(lsn).from_lsn.value))

    def _written(self, rows: pa.Table, found: Generations) -> list[LiveFile]:
        log, key = self._log, found.stored_columns(found.newest).key
        return [
            file
            for date, part in _by_date(rows)
            for file in parquet.write(log.store, log.path, part, {COMMIT_DATE: date}, own=_BOUNDED, key=key)
        ]

    def _settle(self) -> None:
        version = self._log.state.version
        self._log.settle()
        if self._log.state.version != version:
            self._reload()

    def _reload(self) -> None:
        state = self._log.state
        self.generations = Generations.read(state.schema, state.properties) if state.exists else generations.NONE


def _places_of(rows: pa.Table) -> list[tuple[int, int]]:
    return list(zip(rows["_commit_lsn"].to_pylist(), rows["_ordinal"].to_pylist(), strict=True))


def _but(rows: pa.Table, known: set[tuple[int, int]]) -> pa.Table:
    if not known:
        return rows
    return rows.filter(pa.array([place not in known for place in _places_of(rows)], pa.bool_()))


def _in_runs(changes: Sequence[tuple[Relation, pa.Table]]) -> list[tuple[Relation, pa.Table]]:
    """In the order of the changes: a relation that changes and changes back has two runs."""
    changes = [(relation, rows) for relation, rows in changes if rows.num_rows]
    if len(changes) < 2:
        return list(changes)
    places = [np.stack([np.asarray(rows["_commit_lsn"]), np.asarray(rows["_ordinal"])]) for _, rows in changes]
    lsn, ordinal = np.concatenate(places, axis=1)
    which = np.repeat(np.arange(len(changes)), [rows.num_rows for _, rows in changes])
    row = np.concatenate([np.arange(rows.num_rows) for _, rows in changes])
    order = np.lexsort((ordinal, lsn))
    bounds = np.flatnonzero(np.diff(which[order])) + 1
    return [
        (changes[which[run[0]]][0], changes[which[run[0]]][1].take(pa.array(row[run])))
        for run in np.split(order, bounds)
    ]


def _by_date(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    """The rows by the UTC date of their commit, order kept."""
    if rows.num_rows == 0:
        return []
    extremes = pc.min_max(rows["_committed_at"])
    first, last = (extremes[end].as_py().date() for end in ("min", "max"))
    if first == last:
        return [(first.isoformat(), rows)]
    dates = rows["_committed_at"].cast(pa.date32())
    days = sorted(pc.unique(dates).to_pylist())
    return [(day.isoformat(), rows.filter(pc.equal(dates, day))) for day in days]


def _overlaps(file: LiveFile, after: Lsn, to: Lsn) -> bool:
    stats = json.loads(file.stats)
    least, greatest = stats["minValues"]["_commit_lsn"], stats["maxValues"]["_commit_lsn"]
    return bool(least <= to.value and greatest > after.value)


def _span(file: LiveFile) -> tuple[tuple[int, float], tuple[int, float]]:
    """The first and the last place, as (commit LSN, ordinal), at which the file may hold a row."""
    stats = json.loads(file.stats)
    least, greatest = stats["minValues"], stats["maxValues"]
    if least["_commit_lsn"] == greatest["_commit_lsn"]:
        return (least["_commit_lsn"], least["_ordinal"]), (greatest["_commit_lsn"], greatest["_ordinal"])
    return (least["_commit_lsn"], -math.inf), (greatest["_commit_lsn"], math.inf)


def _lsn(value: int | None) -> Lsn | None:
    return None if value is None else Lsn(value)
