"""Keeping the promise: which versions stay, and removing what none of them needs. It commits to no table.

So it may run anywhere, beside the stream, and two at once do no harm. For each table of `current` one run

    1. removes what the record of an earlier run, at least an hour old, has let go;
    2. decides anew which versions stay: the promise, the pins, and what is there; makes a checkpoint of each, so that
       they are told without the commits before them; and puts that on record.

So a version goes at the run after the one that decided it, and whoever chose it meanwhile has read it by then. Of all
other tables only the newest version is ever read: there, what is a day out of use goes.

What it won't do is said and left undone: keep less than was promised, or go on where a kept version has lost a file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from deltalake import DeltaTable

from cdc.errors import RirekiError
from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.errors import PromiseBroken
from lakehouse.lake import Lake
from lakehouse.opening import reading
from lakehouse.pins import Pin, pinned_versions, pins_of
from lakehouse.promise import Promise
from lakehouse.retained import GRACE, Kept, Retained
from lakehouse.root import LakeRoot, table_path
from lakehouse.store import Store
from lakehouse.sweep import Keep, Sweep, newest_unused_since, plan_sweep, remove
from lakehouse.thinning import Thinned, thin
from lakehouse.timeline import Timeline
from lakehouse.versions import told_versions

_LAST_RUN: Final = "_rireki/maintained.json"


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one run found and did for one Delta table, named by its path below the lake's root.

    ``removed`` went (or would go, in a dry run). For a table of ``current``: every version is kept from ``whole_from``
    on (UTC, the source's), ``singles`` before that; ``let_go`` go at the next run after ``goes_at``. ``refused``: why
    nothing was done.
    """

    table: str
    removed: Sweep
    whole_from: datetime | None = None
    singles: int = 0
    oldest: datetime | None = None
    let_go: int = 0
    goes_at: datetime | None = None
    refused: RirekiError | None = None
    name: TableName | None = None  # of a table of ``current``

    def to_json(self) -> dict[str, object]:
        return {
            "table": self.table,
            "removed_objects": len(self.removed.files) + len(self.removed.logged),
            "removed_bytes": self.removed.bytes,
            "whole_from": self.whole_from,
            "single_versions": self.singles,
            "oldest": self.oldest,
            "let_go": self.let_go,
            "goes_at": self.goes_at,
            "refused": None if self.refused is None else str(self.refused),
            "next": None if self.refused is None else self.refused.fix,
        }


@dataclass(frozen=True, slots=True)
class LastRun:
    """When all tables were last maintained (UTC), and what was refused then."""

    at: datetime
    refused: tuple[str, ...]

    @classmethod
    def read(cls, store: Store) -> LastRun | None:
        body = store.get(_LAST_RUN)
        if body is None:
            return None
        told = json.loads(body)
        return cls(datetime.fromisoformat(told["at"]), tuple(told["refused"]))

    def write(self, store: Store) -> None:
        store.replace(_LAST_RUN, json.dumps({"at": self.at.isoformat(), "refused": self.refused}).encode())


def maintain(
    root: LakeRoot,
    promise: Promise,
    now: datetime,
    *,
    tables: Collection[TableName] = (),
    accept_less: bool = False,
    dry_run: bool = False,
) -> Iterator[Maintained]:
    """One run over these tables, or over all and those that they share. ``now``: UTC, our clock.

    ``accept_less``: a promise shorter than the one on record, and versions that have lost files, are let go. Raises
    PromiseBroken before anything is done when the promise is shorter and that isn't accepted; LakeEmpty.
    """
    store, lake = root.store(), Lake.open(root)
    recorded = Promise.recorded(store)
    less = [] if recorded is None else list(promise.less_than(recorded))
    if less and not accept_less:
        raise PromiseBroken("the lake was promised more: " + "; ".join(less), subject=root.url)
    if recorded != promise and not dry_run:
        promise.record(store)
    newest = min(now, Timeline.read(root).newest_cut.time)
    pins = pins_of(store)
    refused: list[str] = []
    for name in tables or lake.tables():
        one = _Current(root, store, name, pinned_versions(pins, name), pins).run(
            promise, newest, now, accept_less=accept_less, dry_run=dry_run
        )
        refused += [str(one.refused)] if one.refused else []
        yield one
        for kind in ("changelog", "history"):
            yield _newest_only(store, table_path(kind, name), now, dry_run=dry_run)
    if not tables:
        for shared in ("transactions", "cuts"):
            yield _newest_only(store, shared, now, dry_run=dry_run)
        if not dry_run:
            LastRun(now, tuple(refused)).write(store)


@dataclass(frozen=True, slots=True)
class _Current:
    root: LakeRoot
    store: Store
    name: TableName
    pinned: Mapping[int, str]
    pins: Collection[Pin]

    @property
    def path(self) -> str:
        return table_path("current", self.name)

    def run(self, promise: Promise, newest: datetime, now: datetime, *, accept_less: bool, dry_run: bool) -> Maintained:
        record = Retained.read(self.store, self.name)
        nothing = Sweep(self.path)
        if now < record.decided_at + GRACE:  # what it let go may still be being read
            goes_at = record.decided_at + GRACE
            return self._told(nothing, record, 0, goes_at)
        try:
            swept = self._swept(record, now, accept_less=accept_less)
            there = self._there(record, swept.unreadable)
            if not there:  # copied, and in no cut yet
                return self._told(nothing, record, 0, None)
            thinned = thin(there, promise, newest, self.pinned, record.since)
            if not dry_run:
                self._checkpoint(thinned)  # first: a version just pinned may stand on commits that go
                remove(self.store, swept)
        except PromiseBroken as error:
            return self._told(nothing, record, 0, None, error)
        decided = Retained(thinned.since.version, thinned.kept, thinned.since, now)
        if not dry_run:
            decided.write(self.store, self.name)
        let_go = decided.since - record.since + len(record.kept) - len(decided.kept)
        return self._told(swept, decided, let_go, now + GRACE if let_go else None)

    def _swept(self, record: Retained, now: datetime, *, accept_less: bool) -> Sweep:
        if record.start is None:
            return Sweep(self.path)
        kept = {one.version for one in record.kept} | {version for version in self.pinned if version < record.since}
        swept = plan_sweep(self.store, self.path, str(self.name), Keep(record.since, tuple(sorted(kept))), now)
        if swept.unreadable and not accept_less:
            versions = ", ".join(map(str, swept.unreadable[:5])) + (", …" if len(swept.unreadable) > 5 else "")
            raise PromiseBroken(
                f"files of version {versions} are gone, though it was to be kept: somebody else removed them",
                subject=str(self.name),
                fix=f"restore them from a backup; or let go what can't be read: "
                f"rireki maintain {self.name} --accept-less",
            )
        return swept

    def _there(self, record: Retained, unreadable: Collection[int]) -> list[Kept]:
        """Every version that can be kept, oldest first."""
        told = told_versions(self.root, self.name, Lsn(0) if record.start is None else record.start.lsn)
        found = {one.version: one for one in told if one.version >= record.since}
        for pin in self.pins:
            if (version := pin.versions.get(self.name)) is not None:
                found.setdefault(version, Kept(version, pin.lsn, pin.source_time, pin.pinned_at))
        for one in record.kept:
            found[one.version] = one
        if record.start is not None and (same := found.get(record.since)) is not None:
            found[record.since] = Kept(same.version, same.lsn, record.start.from_time, record.start.written_at)
        return [found[version] for version in sorted(found) if version not in unreadable]

    def _checkpoint(self, thinned: Thinned) -> None:
        """Of the first version first: its checkpoint is the newest, and no older one then takes that name from it."""
        names = set(self.store.names(f"{self.path}/_delta_log"))
        uri, options = self.root.uri("current", self.name), self.root.storage_options
        for one in (thinned.since, *thinned.kept):
            if f"{one.version:020}.checkpoint.parquet" not in names:
                with reading(str(self.name)):
                    DeltaTable(uri, version=one.version, storage_options=options).create_checkpoint()

    def _told(
        self, swept: Sweep, record: Retained, let_go: int, goes_at: datetime | None, refused: RirekiError | None = None
    ) -> Maintained:
        start = record.start
        oldest = min((one.from_time for one in (*record.kept, *([start] if start else []))), default=None)
        whole_from = None if start is None else start.from_time
        return Maintained(self.path, swept, whole_from, len(record.kept), oldest, let_go, goes_at, refused, self.name)


def _newest_only(store: Store, table: str, now: datetime, *, dry_run: bool) -> Maintained:
    since = newest_unused_since(store, table, now)
    if since is None:
        return Maintained(table, Sweep(table))
    try:
        swept = plan_sweep(store, table, table, Keep(since), now)
        if swept.unreadable:
            raise PromiseBroken(
                "files that the table needs are gone: somebody else removed them",
                subject=table,
                fix="restore them from a backup",
            )
    except PromiseBroken as error:
        return Maintained(table, Sweep(table), refused=error)
    if not dry_run:
        remove(store, swept)
    return Maintained(table, swept)
