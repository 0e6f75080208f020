"""Transactions that come in parts: one commit each, whole or not there. Batches that wait for one cut."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc.batch import Batch, Part, TableChanges
from cdc.lsn import Lsn
from lakehouse.errors import LakeUnreachable
from lakehouse.root import LakeRoot
from lakehouse.writer import NOTHING_STAGED, LakeWriter, StagedRows
from tests.lakehouse.failing import FailAt, FailingRoot
from tests.lakehouse.histories import BAG, KEYED, bag_transactions, keyed_transactions
from tests.lakehouse.readers import as_rows, with_polars
from tests.lakehouse.source import USERS, Source, delete, insert, update
from tests.lakehouse.test_writer import changelog, current, replayed


def in_parts(batch: Batch, ordinals: list[int]) -> tuple[list[Part], Batch]:
    """A batch of one transaction, cut before each of these ordinals."""
    (lsn,) = batch.transactions["commit_lsn"].to_pylist()
    bounds = [-1, *sorted(ordinals), 1 << 40]

    def within(least: int, end: int) -> tuple[TableChanges, ...]:
        ordinal = pa.compute.field("_ordinal")
        cut = [
            TableChanges(one.relation, one.rows.filter((ordinal >= least) & (ordinal < end))) for one in batch.tables
        ]
        return tuple(one for one in cut if one.rows.num_rows)

    pieces = [within(*bounds[i : i + 2]) for i in range(len(bounds) - 1)]
    return [Part(batch.stream, Lsn(lsn), tables) for tables in pieces[:-1]], replace(batch, tables=pieces[-1])


def append(writer: LakeWriter, parts: list[Part], batch: Batch) -> None:
    staged: StagedRows = NOTHING_STAGED
    for part in parts:
        staged = writer.stage(part, staged)
    writer.append(batch, staged)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_transaction_in_any_parts_equals_its_replay(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = LakeRoot(str(tmp_path_factory.mktemp("lake")))
    source, writer = Source(), LakeWriter(root, "main", stretch_rows=1)
    ids: dict[int, None] = {}
    bag: list[dict[str, object]] = []
    writer.append_copy(source.copy(KEYED, []))
    writer.append_copy(source.copy(BAG, []))
    for _ in range(3):
        changes = [change for _ in range(4) for change in data.draw(keyed_transactions(ids))]
        changes += [change for _ in range(4) for change in data.draw(bag_transactions(bag))]
        source.commit(*changes)
        ordinals = data.draw(st.lists(st.integers(1, len(changes)), max_size=5, unique=True), label="parts")
        batch = source.batch()

        append(writer, *in_parts(batch, ordinals))
        writer.advance(batch.end_lsn.before(), batch.source_time)

        for table in (KEYED, BAG):
            assert current(root, table) == replayed(root, table)
    writer.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_cut_for_many_batches_applied_by_and_by_equals_their_replay(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = LakeRoot(str(tmp_path_factory.mktemp("lake")))
    source, writer = Source(), LakeWriter(root, "main", stretch_rows=data.draw(st.integers(1, 9), label="at once"))
    ids: dict[int, None] = {}
    bag: list[dict[str, object]] = []
    writer.append_copy(source.copy(KEYED, []))
    writer.append_copy(source.copy(BAG, []))
    for _ in range(2):
        for _ in range(6):
            for transaction in (keyed_transactions(ids), bag_transactions(bag)):
                source.commit(*data.draw(transaction))
            batch = source.batch()
            writer.append(batch)

        made = writer.advance(batch.end_lsn.before(), batch.source_time)

        assert made is not None and made.cut_lsn == batch.end_lsn.before()
        for table in (KEYED, BAG):
            assert current(root, table) == replayed(root, table)
    writer.close()


def test_all_parts_of_a_transaction_are_one_version_of_each_table(lake_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(lake_root, "main", stretch_rows=1)
    writer.append_copy(source.copy(USERS, [{"id": 0, "name": "a", "bio": "b"}]))
    source.commit(*(insert(USERS, id=n, name="n") for n in range(1, 9)), delete(USERS, id=3), delete(USERS, id=0))
    batch = source.batch()
    parts, end = in_parts(batch, [2, 5, 8])

    staged: StagedRows = NOTHING_STAGED
    for part in parts:
        staged = writer.stage(part, staged)
        assert changelog(lake_root, USERS).num_rows == 2  # the copy
    writer.append(end, staged)
    made = writer.advance(batch.end_lsn.before(), batch.source_time)

    assert made is not None and made.versions == {USERS.name: 0}
    versions = [with_polars(lake_root, lake_root.uri("changelog", USERS.name), version) for version in (0, 1)]
    assert [rows.num_rows for rows in versions] == [2, 12]
    rows = as_rows(with_polars(lake_root, lake_root.uri("current", USERS.name)))
    assert sorted(row.values["id"] for row in rows) == [1, 2, 4, 5, 6, 7, 8]


def test_parts_that_come_again_are_neither_written_nor_counted_twice(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(local_root, "main", stretch_rows=1)
    writer.append_copy(source.copy(USERS, []))
    source.commit(*(insert(USERS, id=n, name="n") for n in range(9)))
    batch = source.batch()
    append(writer, *in_parts(batch, [3, 6]))
    version = changelog(local_root, USERS)

    again = LakeWriter(local_root, "main", stretch_rows=1)
    staged = again.stage(in_parts(batch, [3, 6])[0][0], NOTHING_STAGED)
    again.append(batch, staged)

    assert staged == NOTHING_STAGED
    assert changelog(local_root, USERS).equals(version)


def test_what_was_staged_for_nothing_leaves_no_file(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    files = list(local_root.store().names("changelog/public/users/_commit_date=2026-01-31"))
    source.commit(*(insert(USERS, id=n, name="n") for n in range(9)))

    staged = writer.stage(in_parts(source.batch(), [3])[0][0], NOTHING_STAGED)
    added = len(local_root.store().names("changelog/public/users/_commit_date=2026-01-31")) - len(files)
    writer.discard(staged)

    assert added == 1
    assert local_root.store().names("changelog/public/users/_commit_date=2026-01-31") == files


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_failure_at_any_write_of_a_transaction_in_parts_is_healed_by_its_coming_again(
    tmp_path_factory: pytest.TempPathFactory, moment: str
) -> None:
    source = Source()
    copy = source.copy(USERS, [{"id": n, "name": "n", "bio": "b"} for n in range(4)])
    source.commit(
        *(update(USERS, id=n, name="x", unchanged=["bio"]) for n in range(4)),
        delete(USERS, id=2),
        *(insert(USERS, id=n) for n in range(4, 8)),
    )
    batch = source.batch()

    def carry(root: LakeRoot) -> bool:
        """Whether it was carried to the end; from the beginning, as after a restart."""
        try:
            writer = LakeWriter(root, "main", stretch_rows=1)
            writer.append_copy(copy)
            append(writer, *in_parts(batch, [2, 4, 7]))
            writer.advance(batch.end_lsn.before(), batch.source_time)
        except LakeUnreachable:
            return False
        return True

    whole = FailingRoot(str(tmp_path_factory.mktemp("whole")), {}, FailAt(-1, "before"))
    assert carry(whole)
    for number in range(whole.fail.writes):
        root = FailingRoot(str(tmp_path_factory.mktemp("lake")), {}, FailAt(number, moment))  # type: ignore[arg-type]

        assert not carry(root)
        assert carry(root)

        assert current(root, USERS) == current(whole, USERS), f"write {number}"
        assert changelog(root, USERS).num_rows == changelog(whole, USERS).num_rows, f"write {number}"
