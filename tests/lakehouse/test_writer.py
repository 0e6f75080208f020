from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc.batch import Batch, TableCopy
from cdc.lsn import Lsn
from cdc.relation import Relation
from lakehouse.cuts import Cut, Gap, cuts_from_arrow
from lakehouse.errors import BeyondLake, LakeUnreachable
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.failing import FailAt, FailingRoot
from tests.lakehouse.histories import BAG, KEYED, bag_transactions, keyed_transactions
from tests.lakehouse.readers import READERS, as_rows, with_delta_rs, with_polars
from tests.lakehouse.replay import as_bag, replay
from tests.lakehouse.source import EVENTS, USERS, Source, delete, insert, relation, update

COLUMNS = [column.name for column in USERS.columns]


def current(root: LakeRoot, relation: Relation, version: int | None = None) -> list[Any]:
    return as_bag(as_rows(with_polars(root, root.uri("current", relation.name), version)))


def changelog(root: LakeRoot, relation: Relation) -> pa.Table:
    rows = with_polars(root, root.uri("changelog", relation.name))
    return rows.sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])


def replayed(root: LakeRoot, relation: Relation) -> list[Any]:
    return as_bag(replay(changelog(root, relation), relation.key, [column.name for column in relation.columns]))


def cut(writer: LakeWriter, batch: Batch) -> Cut:
    writer.append(batch)
    made = writer.advance(batch.end_lsn.before(), batch.source_time)
    assert made is not None
    return made


def test_every_reader_sees_every_cut_as_a_replay_has_it(lake_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(lake_root, "main")
    writer.append_copy(source.copy(USERS, [{"id": n, "name": "n", "bio": "b" * n} for n in range(5)]))
    writer.append_copy(source.copy(EVENTS, [{"kind": "a", "weight": 1.0}] * 3))
    source.commit(
        update(USERS, id=1, name="new", unchanged=["bio"]),
        update(USERS, old={"id": 2}, id=12, name="moved", unchanged=["bio"]),
        delete(EVENTS, kind="a", weight=1.0),
    )
    cuts = [cut(writer, source.batch())]
    expected = [{relation: replayed(lake_root, relation) for relation in (USERS, EVENTS)}]
    source.commit(delete(USERS, id=3), insert(EVENTS, kind="z", weight=float("nan")), delete(USERS, id=12))
    cuts.append(cut(writer, source.batch()))
    expected.append({relation: replayed(lake_root, relation) for relation in (USERS, EVENTS)})

    for made, tables in zip(cuts, expected, strict=True):
        for table_of, rows in tables.items():
            for read in READERS:
                table = read(lake_root, lake_root.uri("current", table_of.name), made.versions[table_of.name])
                assert as_bag(as_rows(table)) == rows, read.__name__


def test_a_table_that_did_not_change_keeps_its_version_and_the_cut_says_which(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    writer.append_copy(source.copy(EVENTS, []))
    first = cut(writer, source.batch())
    source.commit(insert(USERS, id=1, name="a"))

    second = cut(writer, source.batch())

    assert dict(first.versions) == {USERS.name: 0, EVENTS.name: 0}
    assert dict(second.versions) == {USERS.name: 1, EVENTS.name: 0}


def test_an_idle_batch_moves_the_durable_position_and_the_cut(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    idle = source.batch()

    made = cut(writer, idle)

    reopened = LakeWriter.open(local_root, "main")
    assert (reopened.durable_to, reopened.cut_at) == (idle.end_lsn, made.cut_lsn)


def test_a_cut_at_or_beyond_what_is_durable_is_refused(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    batch = source.batch()
    writer.append(batch)

    with pytest.raises(BeyondLake, match=str(batch.end_lsn)):
        writer.advance(batch.end_lsn, batch.source_time)


def test_no_cut_is_made_below_a_copy(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    batch = source.batch()
    writer.append(batch)
    writer.append_copy(source.copy(USERS, [{"id": 1, "name": "a", "bio": None}]))

    assert writer.advance(batch.end_lsn.before(), batch.source_time) is None

    assert cut(writer, source.batch()).versions == {USERS.name: 0}


def test_changes_that_the_first_copy_covers_are_dropped_and_those_of_a_later_copy_kept(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    source.commit(insert(USERS, id=1, name="covered"))
    first = source.copy(USERS, [{"id": 1, "name": "covered", "bio": None}])
    writer.append_copy(first)
    source.commit(update(USERS, id=1, name="second"))
    second = source.copy(USERS, [{"id": 1, "name": "second", "bio": "healed"}])
    writer.append_copy(second)
    source.commit(insert(USERS, id=2, name="later"))

    cut(writer, source.batch())

    ops = changelog(local_root, USERS)["_op"].to_pylist()
    assert ops == ["truncate", "copy", "update", "truncate", "copy", "insert"]
    assert current(local_root, USERS) == replayed(local_root, USERS)
    assert writer.copied_at(USERS.name) == second.snapshot_lsn


def test_a_copy_that_arrives_after_the_cuts_have_passed_it_is_applied_with_what_followed(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(USERS, [{"id": 1, "name": "wrong", "bio": None}]))
    cut(writer, source.batch())
    late = source.copy(USERS, [{"id": 1, "name": "right", "bio": "kept"}])
    source.commit(update(USERS, id=1, name="newer", unchanged=["bio"]))
    cut(writer, source.batch())

    writer.append_copy(late)
    cut(writer, source.batch())

    (row,) = as_rows(with_polars(local_root, local_root.uri("current", USERS.name)))
    assert row.values == {"id": 1, "name": "newer", "bio": "kept"}


def test_a_changed_row_is_found_after_a_restart_without_an_index(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(USERS, [{"id": n, "name": "n", "bio": "b"} for n in range(50)]))
    source.commit(*(delete(USERS, id=n) for n in range(0, 50, 3)))
    cut(writer, source.batch())
    writer.close()

    reopened = LakeWriter.open(local_root, "main")
    source.commit(*(update(USERS, id=n, name="m", unchanged=["bio"]) for n in range(1, 50, 3)))
    cut(reopened, source.batch())

    assert current(local_root, USERS) == replayed(local_root, USERS)


def test_changes_let_go_for_lack_of_memory_come_from_the_changelog(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(local_root, "main", tail_bytes=1)
    writer.append_copy(source.copy(USERS, [{"id": 1, "name": "a", "bio": "b"}]))
    for name in ("b", "c"):
        source.commit(update(USERS, id=1, name=name, unchanged=["bio"]))
        writer.append(source.batch())

    cut(writer, source.batch())

    assert current(local_root, USERS) == replayed(local_root, USERS)


def test_a_gap_is_told_at_once_with_the_newest_cut(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    early = Gap(None, Lsn(5), Lsn(9), "slot lost before the first cut")
    late = Gap(USERS.name, Lsn(0x1600002000), None, "rows refused")
    writer.append_copy(source.copy(USERS, []))
    writer.record_gap(early)
    first = cut(writer, source.batch())

    writer.record_gap(late)

    # Polars reads a map as a list of structs, so this goes through delta-rs.
    rows = cuts_from_arrow(with_delta_rs(local_root, local_root.uri_of("cuts")))
    rows.sort(key=lambda row: row.written_at)
    assert [(row.cut_lsn, row.gaps) for row in rows] == [(first.cut_lsn, (early,)), (first.cut_lsn, (late,))]
    assert LakeWriter.open(local_root, "main").cut_at == first.cut_lsn


def test_two_streams_append_to_one_lake(local_root: LakeRoot) -> None:
    one, other = Source("one"), Source("other")
    writers = [LakeWriter.open(local_root, source.stream) for source in (one, other)]
    one.commit(insert(USERS, id=1))
    other.commit(insert(EVENTS, kind="a"))
    batches = [one.batch(), other.batch()]

    for writer, batch in zip(writers, batches, strict=True):
        writer.append(batch)
        writer.append(replace(batch, from_lsn=batch.end_lsn, end_lsn=Lsn(batch.end_lsn.value + 1)))

    for name, batch in zip(("one", "other"), batches, strict=True):
        assert LakeWriter.open(local_root, name).durable_to == Lsn(batch.end_lsn.value + 1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_cut_anywhere_and_restarted_anywhere_equals_its_replay(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = LakeRoot(str(tmp_path_factory.mktemp("lake")))
    source, writer = Source(), LakeWriter.open(root, "main")
    ids: dict[int, None] = {}
    bag: list[dict[str, object]] = []
    writer.append_copy(source.copy(KEYED, []))
    writer.append_copy(source.copy(BAG, []))
    for _ in range(data.draw(st.integers(2, 5), label="batches")):
        for _ in range(data.draw(st.integers(0, 2), label="transactions")):
            source.commit(*data.draw(keyed_transactions(ids)), *data.draw(bag_transactions(bag)))
        batch = source.batch()
        writer.append(batch)
        if data.draw(st.booleans(), label="restart"):
            writer.close()
            writer = LakeWriter.open(root, "main")
        if data.draw(st.booleans(), label="cut"):
            writer.advance(batch.end_lsn.before(), batch.source_time)
            for table in (KEYED, BAG):
                assert current(root, table) == replayed(root, table)
    writer.close()


Step = Callable[[LakeWriter], object]


def story() -> list[Step]:
    """Copies, batches and cuts of two tables; the same each time."""
    source = Source()
    copies: list[TableCopy] = [
        source.copy(USERS, [{"id": n, "name": "n", "bio": "b"} for n in range(3)]),
        source.copy(EVENTS, [{"kind": "a", "weight": 1.0}] * 2),
    ]
    source.commit(update(USERS, id=1, name="x", unchanged=["bio"]), delete(EVENTS, kind="a", weight=1.0))
    first = source.batch()
    source.commit(insert(USERS, id=9), update(USERS, id=1, name="y", unchanged=["bio"]))
    source.commit(insert(EVENTS, kind="a", weight=1.0), delete(USERS, id=9))
    second = source.batch()
    return [
        *(lambda writer, copy=copy: writer.append_copy(copy) for copy in copies),
        lambda writer: writer.append(first),
        lambda writer: writer.advance(first.end_lsn.before(), first.source_time),
        lambda writer: writer.append(second),
        lambda writer: writer.advance(second.end_lsn.before(), second.source_time),
    ]


def writes_of_the_story(root: LakeRoot) -> int:
    fail = FailAt(-1, "before")
    writer = LakeWriter.open(FailingRoot(root.url, root.options, fail), "main")
    for step in story():
        step(writer)
    writer.close()
    return fail.writes


@pytest.mark.parametrize("then", ["restarted", "tried again"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_failure_at_any_write_is_healed_by_doing_the_same_again(
    tmp_path: Any, moment: Literal["before", "after"], then: str
) -> None:
    writes = writes_of_the_story(LakeRoot(str(tmp_path / "whole")))
    expected = {table: current(LakeRoot(str(tmp_path / "whole")), table) for table in (USERS, EVENTS)}
    assert writes > 20

    for number in range(writes):
        root = FailingRoot(str(tmp_path / f"{number}"), {}, FailAt(number, moment))
        writer = LakeWriter.open(root, "main")
        failures = 0
        steps = story()
        at = 0
        while at < len(steps):
            try:
                steps[at](writer)
                at += 1
            except LakeUnreachable:
                failures += 1
                if then == "restarted":
                    writer.close()
                    writer, at = LakeWriter.open(root, "main"), 0
        writer.close()

        assert failures == 1
        for table in (USERS, EVENTS):
            assert current(root, table) == expected[table], f"write {number}"
            changes = changelog(root, table)
            positions = list(zip(*(changes[name].to_pylist() for name in ("_commit_lsn", "_ordinal")), strict=True))
            assert len(positions) == len(set(positions)), f"write {number}"


def test_every_write_of_the_lake_survives_bit_by_bit(local_root: LakeRoot) -> None:
    extremes = relation(
        "public.extremes", {"id": pa.int64(), "at": pa.timestamp("us", "UTC"), "on": pa.date32()}, ["id"]
    )
    far, near = (1 << 63) - 1, (1 << 31) - 1
    rows = pa.table({"id": [1, 2], "at": pa.array([far, -far]), "on": pa.array([near, -near], pa.int32())})
    source, writer = Source(), LakeWriter.open(local_root, "main")
    copy = source.copy(extremes, [{"id": 1}, {"id": 2}])
    filled = copy.rows
    for name in ("at", "on"):
        kind = filled.schema.field(name).type
        column = pa.concat_arrays([pa.nulls(1, kind), rows[name].combine_chunks().view(kind)])
        filled = filled.set_column(filled.column_names.index(name), name, column)
    writer.append_copy(replace(copy, rows=filled))

    cut(writer, source.batch())

    for read in READERS[:2]:
        table = read(local_root, local_root.uri("current", extremes.name), None).sort_by("id")
        assert table["at"].cast(pa.int64()).to_pylist() == [far, -far]
        assert table["on"].cast(pa.int32()).to_pylist() == [near, -near]
    shown = READERS[2](local_root, local_root.uri("current", extremes.name), None).sort_by("id")
    assert shown["at"].cast(pa.int64()).to_pylist() == [far, -far]
