"""What can be removed from one Delta table's folder without taking anything from a version that is kept.

Two things are removed: data files and vectors that no kept version needs, and commits and checkpoints that tell of no
kept version. What stays:

    since      this version and every later one: all objects live then, all written since, all commits from it on.
               What was written since is told by the store's times; where they can't be trusted, by every commit
    kept       single versions before it: their objects, their checkpoints, their own commits

and behind each of the single ones, the commits up to the first version that can't be read any more. That one is a
guard rail: a reader that asks by time for a moment between two kept versions (Spark's `timestampAsOf`) comes to it and
fails; without it, it would be given the older of the two without a word.

Planning reads; `remove` removes. Objects are only ever named by their own listing, and only names of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lakehouse.errors import CorruptCommit, PromiseBroken
from lakehouse.log_past import LoggedVersions, objects_added, objects_in
from lakehouse.store import Store, Stored

UNREAD: Final = timedelta(days=1)  # a version that isn't the newest for so long has no reader any more
UNCOMMITTED: Final = timedelta(days=3)  # files may be written so long before their commit: large transactions
SKEW: Final = timedelta(hours=1)  # between our clock and the store's, and between writing a file and committing it

_LOG: Final = "_delta_log/"
_OURS = re.compile(r"(\A|/)(part-[0-9a-f-]{36}\.parquet|deletion_vector_[0-9a-f-]{36}\.bin)\Z")
_LOGGED = re.compile(r"\A_delta_log/(\d{20})\.(json|checkpoint\.parquet)\Z")
_LEFT_OVER = re.compile(r"(\A|/)\.[^/]+\.[0-9a-f]{32}\.tmp\Z")  # of a process that died while it wrote


@dataclass(frozen=True, slots=True)
class Keep:
    """What one table has to keep: every version from ``since`` on, and single ones before it."""

    since: int
    kept: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """What may go. ``unreadable``: kept versions that lack an object, or that the log doesn't tell any more."""

    table: str
    files: tuple[Stored, ...] = ()
    logged: tuple[Stored, ...] = ()
    unreadable: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(one.size_bytes for one in (*self.files, *self.logged))


def plan_sweep(store: Store, table: str, subject: str, keep: Keep, now: datetime) -> Sweep:
    """Raises PromiseBroken when the version ``since`` itself can't be told: then nothing may be judged."""
    listing = store.listed(table)
    log = LoggedVersions.of(store, table, subject, (one.path.removeprefix(_LOG) for one in _within_log(listing)))
    present = {one.path for one in listing}
    since = next((one for one in listing if one.path == f"{_LOG}{keep.since:020}.json"), None)
    needed, unreadable = set[str](), list[int]()
    for version in (*keep.kept, keep.since, max(log.commits, default=keep.since)):
        objects = _objects(log, version)
        if version >= keep.since and (objects is None or since is None):
            raise PromiseBroken(
                f"version {version} can't be told from its log, and all from {keep.since} on are kept",
                subject=subject,
                fix="somebody else cleaned the log: restore it from a backup, then: rireki maintain --dry-run",
            )
        if objects is None or not objects <= present:
            unreadable.append(version)
        needed |= objects or set()
    assert since is not None
    if not _is_dated_by_its_store(log, since):
        needed |= {path for version in log.commits if version > keep.since for path in _added(log, version)}
    going = tuple(
        one
        for one in listing
        if (_OURS.search(one.path) and one.path not in needed and one.modified < since.modified - SKEW)
        or _LEFT_OVER.search(one.path)
        if one.modified < now - UNCOMMITTED and not one.path.startswith("_rireki/")
    )
    staying = present - {one.path for one in going}
    telling = {number for version in keep.kept for number in _commits_after(log, version, staying)}
    logged = tuple(one for one in _within_log(listing) if not _tells(one, keep, telling))
    return Sweep(table, going, logged, tuple(unreadable))


def newest_unused_since(store: Store, table: str, now: datetime) -> int | None:
    """The newest version whose checkpoint has been there for a day: no reader stands before it. None: there is none."""
    listing = {one.path: one for one in store.listed(f"{table}/_delta_log")}
    found = [
        int(path[:20])
        for path, one in listing.items()
        if path.endswith(".checkpoint.parquet") and one.modified < now - UNREAD
    ]
    return max((version for version in found if f"{version:020}.json" in listing), default=None)


def remove(store: Store, sweep: Sweep) -> None:
    """Data first: a version whose commit stays but whose data goes fails, and is never mistaken for another."""
    for one in (*sweep.files, *sweep.logged):
        store.remove(f"{sweep.table}/{one.path}")


def _objects(log: LoggedVersions, version: int) -> set[str] | None:
    """What the version needs; None where its log doesn't tell it."""
    try:
        state = log.state(version)
    except CorruptCommit:
        return None
    return None if state is None else set(objects_in(state))


def _added(log: LoggedVersions, version: int) -> Iterator[str]:
    for action in log.actions(version):
        if "add" in action:
            yield from objects_added(action["add"])


def _is_dated_by_its_store(log: LoggedVersions, commit: Stored) -> bool:
    """Whether the store's times are those of writing. In a lake that was copied they aren't, and order nothing."""
    match = _LOGGED.match(commit.path)
    assert match is not None
    told = (action["commitInfo"].get("timestamp") for action in log.actions(int(match[1])) if "commitInfo" in action)
    written_ms = next(told, None)
    return written_ms is not None and abs(commit.modified - datetime.fromtimestamp(written_ms / 1000, UTC)) < SKEW


def _commits_after(log: LoggedVersions, version: int, staying: set[str]) -> Iterator[int]:
    """The kept version's own commit, and those after it up to the first version that lacks something."""
    added: dict[str, tuple[str, ...]] = {}  # what came since, by data file; all else is the kept version's own
    while version in log.commits:
        yield version
        if any(path not in staying for objects in added.values() for path in objects):
            return
        version += 1
        if version in log.commits:
            actions = log.actions(version)
            for action in actions:
                added.pop(action.get("remove", {}).get("path"), None)
            added |= {action["add"]["path"]: objects_added(action["add"]) for action in actions if "add" in action}


def _within_log(listing: Iterable[Stored]) -> Sequence[Stored]:
    return [one for one in listing if _LOGGED.match(one.path)]


def _tells(one: Stored, keep: Keep, telling: set[int]) -> bool:
    """Whether a commit or checkpoint tells of a version that is kept."""
    match = _LOGGED.match(one.path)
    assert match is not None
    version = int(match[1])
    if version >= keep.since:
        return True
    return version in keep.kept if match[2] != "json" else version in telling
