"""The promise over years: what is kept answers exactly, what isn't is refused by name, and nothing else is removed."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from deltalake import DeltaTable

from lakehouse.errors import HistoryIncomplete, PinExists, PromiseBroken, UnknownPin
from lakehouse.lake import Lake
from lakehouse.maintenance import Maintained, maintain
from lakehouse.pins import pin, pins_of, unpin
from lakehouse.promise import Promise
from lakehouse.retained import GRACE, Retained
from lakehouse.root import LakeRoot
from lakehouse.thinning import boundaries
from lakehouse.writer import LakeWriter
from tests.lakehouse.readers import with_delta_rs, with_duckdb, with_polars
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.source import EVENTS, USERS, Source, update

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TOKYO = Promise(every=3 * DAY, hourly=10 * DAY, daily=800 * DAY, zone="Asia/Tokyo")
BRIEF = Promise(every=DAY, hourly=2 * DAY, daily=2 * DAY, zone="UTC")
CURRENT = "current/public/users"
ROWS = 3


class Years:
    """A lake in which years pass: the source's clock, ours and the store's, a second behind one another."""

    def __init__(self, root: LakeRoot, seed: int = 7) -> None:
        self.root, self.random = root, random.Random(seed)
        self.source = Source()
        self.writer = LakeWriter(root, "main", clock=self.written_at, properties=TOKYO.table_properties)
        self._dated: set[Path] = set()
        self.states: list[tuple[datetime, list[str]]] = []  # from when on the rows were so
        self.names = [f"n{number}" for number in range(ROWS)]
        rows = [{"id": number, "name": name, "bio": "b"} for number, name in enumerate(self.names)]
        self.writer.append_copy(self.source.copy(USERS, rows))
        self.cut()

    def written_at(self) -> datetime:
        return self.source.now + timedelta(seconds=1)

    def cut(self) -> None:
        batch = self.source.batch()
        self.writer.append(batch)
        cut = self.writer.advance(batch.end_lsn.before(), batch.source_time)
        assert cut is not None
        self.states.append((cut.source_time, list(self.names)))
        self.date_files()

    def change(self) -> None:
        number = self.random.randrange(ROWS)
        self.names[number] = f"v{len(self.states)}"
        self.source.commit(update(USERS, id=number, name=self.names[number], bio="b"))
        self.cut()

    def live(self, times: int, least: timedelta, most: timedelta) -> None:
        for _ in range(times):
            self.source.idle(least + (most - least) * self.random.random())
            self.change()

    def date_files(self) -> None:
        """Give the objects that are new the time at which they would have been written."""
        written = self.written_at().timestamp()
        there = {path for path in Path(self.root.url).rglob("*") if path.is_file()}
        for path in there - self._dated:
            os.utime(path, (written, written))
        self._dated = there

    def maintain(self, promise: Promise, *, after: timedelta = timedelta(), **how: bool) -> dict[str, Maintained]:
        told = {one.table: one for one in maintain(self.root, promise, self.written_at() + after, **how)}  # type: ignore[arg-type]
        self.date_files()
        return told

    def state_at(self, time: datetime) -> list[str]:
        return next(names for since, names in reversed(self.states) if since <= time)

    def names_in(self, version: int) -> list[str]:
        """As every engine reads them."""
        uri = self.root.uri("current", USERS.name)
        found = [read(self.root, uri, version).to_pylist() for read in READERS]
        told = [[row["name"] for row in sorted(rows, key=lambda row: row["id"])] for rows in found]
        assert told[0] == told[1] == told[2]
        return told[0]


READERS = (with_polars, with_delta_rs, with_duckdb)


def test_every_promised_moment_of_years_has_its_version_and_the_others_are_gone(local_root: LakeRoot) -> None:
    years = Years(local_root)
    for _ in range(20):
        years.live(1, 5 * DAY, 30 * DAY)
        years.live(3, HOUR / 60, HOUR / 6)
    years.live(20, HOUR / 6, 8 * HOUR)
    years.maintain(TOKYO)
    years.live(20, HOUR / 6, 8 * HOUR)

    swept = years.maintain(TOKYO, after=GRACE)[CURRENT]
    years.maintain(TOKYO, after=2 * GRACE)

    now = years.states[-1][0]
    held = Retained.read(local_root.store(), USERS.name)
    versions = Lake.open(local_root).versions(USERS.name)
    assert len(swept.removed.files) > 30 and len(swept.removed.logged) > 30
    assert 20 < len(held.kept) < 60 < held.since
    assert {one.version for one in held.kept} | {one.version for one in versions if one.version >= held.since} == {
        one.version for one in versions
    }
    assert all(one.readable for one in versions)
    told: dict[int, list[str]] = {}
    for boundary in boundaries(TOKYO, now):
        if boundary >= years.states[0][0]:
            version = max(one.version for one in versions if one.from_time <= boundary)
            told[version] = told.get(version) or years.names_in(version)
            assert told[version] == years.state_at(boundary), boundary
    gone = [version for version in range(40, held.since, 5) if not held.keeps(version)]
    assert len(gone) > 5
    for version in gone:
        with pytest.raises(Exception, match=r"(?i)not found|no such file|log segment|end version"):
            assert years.names_in(version) != years.states[version][1]


def test_the_lake_answers_for_every_moment_of_the_years_as_before(local_root: LakeRoot) -> None:
    years = thinned(local_root)
    lake = Lake.open(local_root)

    for time, names in years.states[1::4]:
        answer = lake.sql("SELECT name FROM public.users ORDER BY id", at=time)
        assert (answer.arrow["name"].to_pylist(), answer.as_of.complete) == (names, True), time


def test_behind_a_single_version_stands_a_commit_that_no_reader_gets_past(local_root: LakeRoot) -> None:
    years = thinned(local_root)
    held = Retained.read(local_root.store(), USERS.name)

    # What Spark's timestampAsOf does: the newest commit that is there, written by then.
    there = {int(path.stem) for path in (Path(local_root.url) / CURRENT / "_delta_log").glob("*.json")}
    for one, following in pairwise([*(kept.version for kept in held.kept), held.since]):
        between = sorted(version for version in there if one < version < following)
        if following == one + 1:
            assert not between
            continue
        for readable in between[:-1]:
            assert years.names_in(readable) == years.states[readable][1]
        with pytest.raises(Exception, match=r"(?i)not found|no such file"):
            years.names_in(between[-1])


def test_a_pinned_cut_outlives_the_promise_until_it_is_unpinned(local_root: LakeRoot) -> None:
    years = Years(local_root)
    years.live(30, HOUR / 60, HOUR)
    as_of = Lake.open(local_root).at(years.states[10][0])
    made = pin(local_root, "audit-2026", as_of, reason="the auditors")
    with pytest.raises(PinExists):
        pin(local_root, "audit-2026", as_of)

    years.live(10, DAY, 3 * DAY)
    for round in range(3):
        years.maintain(BRIEF, after=round * 2 * GRACE)

    assert made.versions == {USERS.name: 10}
    assert pins_of(local_root.store()) == [made]
    assert years.names_in(10) == years.states[10][1]
    with pytest.raises(HistoryIncomplete, match="no longer kept"):
        pin(local_root, "too-late", Lake.open(local_root).at(years.states[12][0]))

    unpin(local_root, "audit-2026")
    for round in range(3, 6):
        years.maintain(BRIEF, after=round * 2 * GRACE)
    with pytest.raises(Exception, match=r"(?i)not found|no such file|log segment|end version"):
        years.names_in(10)
    with pytest.raises(UnknownPin):
        unpin(local_root, "audit-2026")


def test_a_pin_made_while_maintenance_was_deciding_is_kept(local_root: LakeRoot) -> None:
    years = Years(local_root)
    years.live(30, HOUR / 60, HOUR)
    as_of = Lake.open(local_root).at(years.states[10][0])
    years.live(10, DAY, 3 * DAY)
    pin(local_root, "audit", as_of)
    path = local_root.store().get("_rireki/pins/audit.json")
    assert path is not None
    unpin(local_root, "audit")

    years.maintain(BRIEF)
    local_root.store().put("_rireki/pins/audit.json", path)  # it had checked before the record was written
    for round in range(1, 4):
        years.maintain(BRIEF, after=round * 2 * GRACE)

    assert years.names_in(10) == years.states[10][1]


def test_a_shorter_promise_is_refused_until_less_is_accepted(local_root: LakeRoot) -> None:
    years = Years(local_root)
    years.live(10, DAY, 3 * DAY)
    years.maintain(TOKYO)

    with pytest.raises(PromiseBroken, match="every was promised for 3 days and is now 1 days") as refused:
        years.maintain(BRIEF, after=2 * GRACE)

    assert "--accept-less" in refused.value.fix
    assert Promise.recorded(local_root.store()) == TOKYO
    years.maintain(BRIEF, after=2 * GRACE, accept_less=True)
    assert Promise.recorded(local_root.store()) == BRIEF


def test_a_longer_promise_keeps_what_is_still_there_and_makes_nothing_up(local_root: LakeRoot) -> None:
    years = thinned(local_root)
    before = Retained.read(local_root.store(), USERS.name)
    long = replace(TOKYO, every=900 * DAY, hourly=900 * DAY, daily=900 * DAY)

    for round in range(4, 7):
        years.maintain(long, after=round * 2 * GRACE)

    after = Retained.read(local_root.store(), USERS.name)
    assert (after.since, after.kept) == (before.since, before.kept)


def test_a_kept_version_whose_file_somebody_removed_stops_the_table_by_name(local_root: LakeRoot) -> None:
    years = thinned(local_root)
    held = Retained.read(local_root.store(), USERS.name)
    uri = Path(local_root.url) / CURRENT
    present = {path.name for path in uri.glob("*.parquet")}
    years.live(1, HOUR, HOUR)
    victim = held.kept[3].version
    needed = [Path(one).name for one in DeltaTable(str(uri), version=victim).file_uris()]
    (uri / needed[0]).unlink()

    refused = years.maintain(TOKYO, after=10 * GRACE)[CURRENT].refused

    assert refused is not None and "was to be kept" in str(refused) and "--accept-less" in refused.fix
    assert {path.name for path in uri.glob("*.parquet")} >= present - {needed[0]}
    assert years.maintain(TOKYO, after=10 * GRACE, accept_less=True)[CURRENT].refused is None
    assert not Retained.read(local_root.store(), USERS.name).keeps(victim)


def test_a_copied_lake_whose_files_all_are_new_loses_nothing(local_root: LakeRoot, tmp_path: Path) -> None:
    years = Years(local_root)
    years.live(30, HOUR, 9 * HOUR)
    years.maintain(BRIEF)
    shutil.copytree(local_root.url, tmp_path / "copied", copy_function=shutil.copyfile)
    copied = LakeRoot(str(tmp_path / "copied"))
    copied_at = (years.written_at() + 20 * DAY).timestamp()
    for path in (path for path in (tmp_path / "copied").rglob("*") if path.is_file()):  # the log last, hours later
        os.utime(path, (copied_at,) * 2 if path.suffix == ".parquet" else (copied_at + 20_000,) * 2)

    list(maintain(copied, BRIEF, years.written_at() + 40 * DAY))

    held = Retained.read(copied.store(), USERS.name)
    assert held.since > 10
    assert all(one.readable for one in Lake.open(copied).versions(USERS.name))


def test_a_dry_run_tells_and_changes_nothing(local_root: LakeRoot) -> None:
    years = Years(local_root)
    years.live(30, HOUR / 60, HOUR)
    years.live(10, DAY, 3 * DAY)
    before = set(Path(local_root.url).rglob("*"))

    told = years.maintain(BRIEF, dry_run=True)[CURRENT]

    assert told.let_go > 10
    assert set(Path(local_root.url).rglob("*")) == before


def test_what_a_version_let_go_is_not_removed_within_the_hour(local_root: LakeRoot) -> None:
    years = Years(local_root)
    years.live(30, HOUR / 60, HOUR)
    years.live(10, DAY, 3 * DAY)

    years.maintain(BRIEF)
    too_early = years.maintain(BRIEF, after=GRACE / 2)[CURRENT]
    then = years.maintain(BRIEF, after=GRACE)[CURRENT]

    assert (len(too_early.removed.files), too_early.goes_at is not None) == (0, True)
    assert len(then.removed.files) > 10


def test_a_table_that_is_copied_and_in_no_cut_yet_has_nothing_to_keep(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.writer.append_copy(live.source.copy(EVENTS, [{"kind": "a", "weight": 1.0}]))

    told = {one.table: one for one in maintain(local_root, TOKYO, datetime.now(UTC))}

    events = told["current/public/events"]
    assert (events.refused, events.singles, events.let_go) == (None, 0, 0)
    assert told[CURRENT].whole_from == live.first_cut.source_time


def test_hours_and_days_begin_where_the_zone_says(local_root: LakeRoot) -> None:
    promise = replace(TOKYO, every=DAY, hourly=2 * DAY, daily=5 * DAY, zone="Europe/Berlin")
    now = datetime(2026, 3, 30, 12, tzinfo=UTC)  # the clocks went forward on the 29th

    found = sorted(set(boundaries(promise, now)))

    berlin = ZoneInfo("Europe/Berlin")
    midnights = [time for time in found if time.astimezone(berlin).hour == 0]
    assert [time.astimezone(berlin).day for time in midnights] == [26, 27, 28, 29]
    assert [midnights[-1].hour, midnights[-2].hour] == [23, 23]
    hours = [time for time in found if now - 2 * DAY <= time]
    assert hours == [now - 2 * DAY + number * HOUR for number in range(25)]


def thinned(root: LakeRoot) -> Years:
    """Years of a table, most of whose versions are gone."""
    years = Years(root)
    for _ in range(10):
        years.live(1, 5 * DAY, 30 * DAY)
        years.live(3, HOUR / 60, HOUR / 6)
    years.live(20, HOUR / 6, 8 * HOUR)
    for round in range(3):
        years.maintain(TOKYO, after=round * 2 * GRACE)
    return years
