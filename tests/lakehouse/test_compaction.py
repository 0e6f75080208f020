"""Few files for the same rows: bounded however often a table is written, and no reader or writer can tell otherwise."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from threading import Lock
from unittest.mock import patch

import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse import compaction
from lakehouse.compaction import FAN_IN
from lakehouse.errors import LakeUnreachable
from lakehouse.history_build import build_history
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.table_state import TableState, load
from lakehouse.writer import LakeWriter
from tests.lakehouse.failing import FailAt, FailingRoot
from tests.lakehouse.histories import BAG, KEYED
from tests.lakehouse.readers import with_delta_rs, with_duckdb, with_polars
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.replay import as_bag
from tests.lakehouse.source import EVENTS, USERS, Source, delete, insert, truncate, update
from tests.lakehouse.test_plans import COLUMNS, World, _rows

TABLES = ("cuts", "transactions", "changelog/public/users", "current/public/users")


def test_a_table_written_three_hundred_times_has_few_files_and_the_same_rows(lake_root: LakeRoot) -> None:
    live = LiveLake(lake_root)
    expected = {0: "n0", 1: "n1", 2: "n2"}
    told = [(live.first_cut.cut_lsn, dict(expected))]
    for number in range(300 if lake_root.is_local else 36):
        key = 3 + number if number % 3 else number % 4
        live.commit((update if key in expected else insert)(USERS, id=key, name=f"v{number}", bio="b"))
        expected[key] = f"v{number}"
        told.append((live.cut().cut_lsn, dict(expected)))
        live.writer.compact()

    for table in TABLES:
        assert len(state(lake_root, table).files) <= 2 * FAN_IN, table
    lake = live.read()
    for lsn, rows in told[::23]:
        answer = lake.sql("SELECT id, name FROM public.users", at=lsn).arrow.to_pylist()
        assert {row["id"]: row["name"] for row in answer} == rows
    uri = lake_root.uri("current", USERS.name)
    for version in lake.versions(USERS.name, 40)[::9]:
        at = dict(told)[version.from_lsn]
        for read in (with_polars, with_delta_rs, with_duckdb):
            found = read(lake_root, uri, version.version).to_pylist()
            assert {row["id"]: row["name"] for row in found} == at
    assert lake.sql("SELECT count(*) AS n FROM rireki.cuts").arrow["n"].to_pylist() == [len(told)]
    changes = lake.sql('SELECT count(*) AS n FROM changelog."public.users"').arrow["n"].to_pylist()
    assert changes == [len(told) - 1 + 4]


def test_rows_that_a_cut_hides_while_their_files_are_merged_stay_hidden(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    many_small_files(live, 40)
    current = live.writer._tables[USERS.name].current

    def meanwhile() -> None:
        live.commit(update(USERS, id=10, name="later", bio="b"), delete(USERS, id=11))
        live.cut()

    gone = current.compact(Interrupted(live.writer._cutting.lock, meanwhile))

    assert gone >= FAN_IN
    live.commit(update(USERS, id=12, name="last", bio="b"), update(USERS, id=10, name="again", bio="b"))
    live.cut()
    names = {row["id"]: row["name"] for row in live.read().sql("FROM public.users").arrow.to_pylist()}
    assert (names[10], names[12], 11 in names, len(names)) == ("again", "last", False, 42)
    assert LakeWriter.open(local_root, "main")._tables[USERS.name].current.version == current.version


def test_a_table_emptied_while_its_files_are_merged_stays_empty(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    many_small_files(live, 40)

    def meanwhile() -> None:
        live.commit(truncate(USERS), insert(USERS, id=1, name="only", bio="b"))
        live.cut()

    gone = live.writer._tables[USERS.name].current.compact(Interrupted(live.writer._cutting.lock, meanwhile))

    assert gone == 0
    assert live.read().sql("SELECT name FROM public.users").arrow["name"].to_pylist() == ["only"]
    assert len(state(local_root, TABLES[-1]).files) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_merging_that_fails_at_any_write_is_healed_by_going_on(local_root: LakeRoot, moment: str) -> None:
    for number in range(8):
        root = FailingRoot(f"{local_root.url}{number}", fail=FailAt(-1, moment))  # type: ignore[arg-type]
        live = LiveLake(root)
        many_small_files(live, 20)
        root.fail.number, root.fail.writes = number, 0

        with pytest.raises(LakeUnreachable):
            live.writer.compact()
        live.commit(update(USERS, id=10, name="later", bio="b"))
        live.cut()
        live.writer.compact()

        for lake in (live.read(), Lake.open(LakeRoot(root.url))):
            rows = lake.sql("SELECT id, name FROM public.users ORDER BY id").arrow.to_pylist()
            assert [row["id"] for row in rows] == list(range(23))
            assert rows[10]["name"] == "later"
        again = LakeWriter.open(LakeRoot(root.url), "main")
        assert again.cut_at == live.writer.cut_at


def test_two_streams_merge_the_tables_they_share_and_lose_nothing(local_root: LakeRoot) -> None:
    one, other = (Stream(local_root, name) for name in ("one", "other"))
    for number in range(2 * FAN_IN):
        for stream in (one, other):
            stream.change(number)
    one.writer.compact()

    for stream in (other, one):
        stream.change(100)
        stream.writer.compact()
        stream.change(101)

    assert with_polars(local_root, local_root.uri_of("transactions")).num_rows == 2 * (2 * FAN_IN + 2)
    assert len(state(local_root, "transactions").files) <= 2 * FAN_IN


def test_both_streams_merging_the_same_files_merge_them_once(local_root: LakeRoot) -> None:
    one, other = (Stream(local_root, name) for name in ("one", "other"))
    for number in range(FAN_IN):
        for stream in (one, other):
            stream.change(number)
    transactions = one.writer._transactions
    transactions._lock = Interrupted(Lock(), lambda: other.writer.compact())  # type: ignore[assignment]

    transactions.compact()

    one.change(100)
    assert with_polars(local_root, local_root.uri_of("transactions")).num_rows == 2 * FAN_IN + 1


def test_a_stream_leaves_the_tables_of_another_to_their_own_writer(local_root: LakeRoot) -> None:
    one = Stream(local_root, "one")
    for number in range(FAN_IN):
        one.change(number)
    files = len(state(local_root, "changelog/public/users").files)
    other = Stream(local_root, "other")

    other.writer.compact()

    assert len(state(local_root, "changelog/public/users").files) == files
    one.change(100)
    rows = with_polars(local_root, local_root.uri("changelog", USERS.name)).filter(pc.field("_op") == "insert")
    assert sorted(rows["id"].to_pylist()) == [*range(FAN_IN), 100]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data())
def test_any_history_with_files_merged_anywhere_equals_its_replay(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(compaction, "FAN_IN", 2):
        world = World(LakeRoot(folder), data)
        world.copy(KEYED)
        world.copy(BAG)
        world.append()
        world.cut()
        for _ in range(data.draw(st.integers(3, 10), label="steps")):
            if data.draw(st.integers(0, 5)) == 0:
                world.copy(data.draw(st.sampled_from([KEYED, BAG]), label="copied"))
            world.change()
            world.append()
            if data.draw(st.integers(0, 3)):
                world.cut()
            if data.draw(st.booleans(), label="merge"):
                world.writer.compact()
        world.cut()
        world.writer.compact()
        world.build(1000)

        lake = Lake.open(world.root)
        for lsn in (world.cuts[-1], data.draw(st.sampled_from(world.cuts))):
            for relation in (KEYED, BAG):
                names = COLUMNS[relation.name]
                for plan in ("version", "changelog", "history"):
                    rows = lake.sql(f"FROM {relation.name}", at=lsn, plan=plan).arrow  # type: ignore[arg-type]
                    assert as_bag(_rows(rows, names)) == world.replayed(relation, lsn), plan


def test_what_merging_leaves_of_the_changelog_builds_the_same_history(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    many_small_files(live, 50)
    cut = live.cut()
    build_history(local_root, USERS.name, cut.cut_lsn)
    query = 'SELECT id, name, _from_lsn, _to_lsn FROM history."public.users" ORDER BY ALL'
    before = live.read().sql(query).arrow

    live.writer.compact()
    build_history(local_root, USERS.name, live.cut().cut_lsn, rebuild=True)

    assert live.read().sql(query).arrow.equals(before)


def test_a_history_built_forty_times_has_few_files_and_says_what_one_build_says(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    query = 'SELECT id, name, _from_lsn, _to_lsn FROM history."public.users" ORDER BY ALL'
    for number in range(40):
        live.commit(
            insert(USERS, id=10 + number, name="n", bio="b"), update(USERS, id=number % 3, name=f"v{number}", bio="b")
        )
        build_history(local_root, USERS.name, live.cut().cut_lsn)
    often = live.read().sql(query).arrow

    assert len(state(local_root, "history/public/users").files) <= 2 * FAN_IN
    build_history(local_root, USERS.name, live.cut().cut_lsn, rebuild=True)
    assert live.read().sql(query).arrow.equals(often)


def many_small_files(live: LiveLake, files: int) -> None:
    for number in range(3, 3 + files):
        live.commit(insert(USERS, id=number, name=f"n{number}", bio="b"))
        live.cut()


class Interrupted:
    """A lock before whose second taking something else gets in."""

    def __init__(self, lock: Lock, meanwhile: Callable[[], object]) -> None:
        self._lock, self._meanwhile, self._taken = lock, meanwhile, 0

    def __enter__(self) -> None:
        self._taken += 1
        if self._taken == 2:
            self._meanwhile()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Stream:
    """One of several that feed a lake, with a table of its own."""

    def __init__(self, root: LakeRoot, name: str) -> None:
        self.source, self.writer = Source(name), LakeWriter.open(root, name)
        self.table = USERS if name == "one" else EVENTS
        self.writer.append_copy(self.source.copy(self.table, []))

    def change(self, number: int) -> None:
        row = {"id": number, "name": "n", "bio": "b"} if self.table is USERS else {"kind": "k", "weight": 1.0}
        self.source.commit(insert(self.table, **row))
        self.writer.append(self.source.batch())


def state(root: LakeRoot, table: str) -> TableState:
    return load(root.store(), table, table)
