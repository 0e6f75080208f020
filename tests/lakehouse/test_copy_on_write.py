"""Tables without deletion vectors, for readers that don't know them: the same rows, and as safe."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.errors import LakeUnreachable
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.table_state import TableState, load
from lakehouse.writer import LakeWriter
from tests.lakehouse.failing import FailAt, FailingRoot
from tests.lakehouse.histories import BAG, KEYED
from tests.lakehouse.readers import READERS
from tests.lakehouse.reading import LiveLake
from tests.lakehouse.replay import as_bag
from tests.lakehouse.source import USERS, delete, insert, update
from tests.lakehouse.test_plans import COLUMNS, World, _rows

FOLDER = "current/public/users"


def test_every_engine_reads_every_version_and_none_needs_vectors(lake_root: LakeRoot) -> None:
    live, told = without_vectors(lake_root), {}
    for change in (
        [update(USERS, id=1, name="new", bio="b"), insert(USERS, id=9, name="nine", bio="b")],
        [update(USERS, id=1, old={"id": 0}, name="zero", bio="b"), delete(USERS, id=9), delete(USERS, id=1)],
        [insert(USERS, id=4, name="four", bio="b"), update(USERS, id=2, name="two", unchanged=["bio"])],
    ):
        live.commit(*change)
        cut = live.cut()
        told[cut.versions[USERS.name]] = live.read().sql("SELECT id, name, bio FROM public.users ORDER BY id").arrow

    uri = lake_root.uri("current", USERS.name)
    for version, rows in told.items():
        for read in READERS:
            found = read(lake_root, uri, version).select(["id", "name", "bio"]).to_pylist()
            assert sorted(found, key=lambda row: row["id"]) == rows.to_pylist()
    assert rows.to_pylist()[-2:] == [{"id": 2, "name": "two", "bio": "b2"}, {"id": 4, "name": "four", "bio": "b"}]
    assert state(lake_root).protocol == {"minReaderVersion": 1, "minWriterVersion": 2}
    log = lake_root.store()
    for name in log.names(f"{FOLDER}/_delta_log"):
        assert b"deletionVector" not in (log.get(f"{FOLDER}/_delta_log/{name}") or b"")


def test_a_restart_finds_rows_where_they_were_written_again(local_root: LakeRoot) -> None:
    live = without_vectors(local_root)
    live.commit(update(USERS, id=1, name="new", bio="b"))
    live.cut()
    live.writer.close()
    live.writer = LakeWriter.open(local_root, "main", copy_on_write=[USERS.name])

    live.commit(update(USERS, id=2, name="newer", bio="b"), delete(USERS, id=0))
    live.cut()

    assert live.read().sql("SELECT name FROM public.users ORDER BY id").arrow["name"].to_pylist() == ["new", "newer"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_failure_at_any_write_is_healed_by_doing_the_same_again(tmp_path: Path, moment: str) -> None:
    for number in range(20):
        root = FailingRoot(str(tmp_path / f"lake{number}"), fail=FailAt(-1, moment))  # type: ignore[arg-type]
        live = without_vectors(root)
        live.source.commit(update(USERS, id=1, name="new", bio="b"), delete(USERS, id=2))
        batch = live.source.batch()
        root.fail.number, root.fail.writes = number, 0
        tries, made = 0, None
        while made is None:
            try:
                tries += 1
                live.writer.append(batch)
                made = live.writer.advance(batch.end_lsn.before(), batch.source_time)
            except LakeUnreachable:
                continue

        rows = Lake.open(LakeRoot(root.url)).sql("SELECT id, name FROM public.users ORDER BY id").arrow.to_pylist()
        assert rows == [{"id": 0, "name": "n0"}, {"id": 1, "name": "new"}]
        if tries == 1:
            assert number > 5
            return
    pytest.fail("more writes than were counted")


def test_a_table_may_lose_its_vectors_and_get_them_back(local_root: LakeRoot) -> None:
    live = LiveLake(local_root)
    live.commit(update(USERS, id=1, name="by vector", bio="b"), insert(USERS, id=3, name="n3", bio="b"))
    live.cut()
    versions = [live.writer._tables[USERS.name].current.version]
    assert state(local_root).has_vectors

    for copy_on_write in ([USERS.name], []):
        live.writer.close()
        live.writer = LakeWriter.open(local_root, "main", copy_on_write=copy_on_write)
        live.commit(update(USERS, id=2, name=f"again {len(versions)}", bio="b"))
        versions.append(live.cut().versions[USERS.name])
        now = state(local_root)
        assert now.has_vectors == (not copy_on_write)
        assert not (copy_on_write and any(file.deletion_vector for file in now.files.values()))

    uri = local_root.uri("current", USERS.name)
    for read in READERS:
        names = [sorted(read(local_root, uri, version)["name"].to_pylist()) for version in versions]
        assert names == [sorted(["n0", "by vector", third, "n3"]) for third in ("n2", "again 1", "again 2")]


def test_merging_files_leaves_no_vector_either(local_root: LakeRoot) -> None:
    live = without_vectors(local_root)
    for number in range(3, 40):
        live.commit(insert(USERS, id=number, name=f"n{number}", bio="b"))
        live.cut()

    assert live.writer.compact() > 30
    live.commit(update(USERS, id=20, name="later", bio="b"))
    live.cut()

    rows = live.read().sql("SELECT id, name FROM public.users ORDER BY id").arrow.to_pylist()
    assert [row["id"] for row in rows] == list(range(40))
    assert rows[20]["name"] == "later"
    assert not any(file.deletion_vector for file in state(local_root).files.values())


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data())
def test_any_history_equals_its_replay(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(LakeRoot(folder), data)
        world.writer = LakeWriter.open(world.root, "main", copy_on_write=[KEYED.name, BAG.name])
        world.copy(KEYED)
        world.copy(BAG)
        world.append()
        world.cut()
        for _ in range(data.draw(st.integers(1, 6), label="steps")):
            if data.draw(st.integers(0, 5)) == 0:
                world.copy(data.draw(st.sampled_from([KEYED, BAG]), label="copied"))
            world.change()
            world.append()
            if data.draw(st.integers(0, 3)):
                world.cut()
        world.cut()

        lake = Lake.open(world.root)
        for lsn in world.cuts:
            for relation in (KEYED, BAG):
                names = COLUMNS[relation.name]
                rows = lake.sql(f"FROM {relation.name}", at=lsn, plan="version").arrow
                assert as_bag(_rows(rows, names)) == world.replayed(relation, lsn)


def without_vectors(root: LakeRoot) -> LiveLake:
    return LiveLake(root, copy_on_write=True)


def state(root: LakeRoot) -> TableState:
    return load(root.store(), FOLDER, FOLDER)
