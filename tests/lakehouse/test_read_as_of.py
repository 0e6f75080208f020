"""The law of reading: rows as of L are what replaying every commit up to L leaves, wherever the cuts lie."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cdc.lsn import Lsn
from cdc.relation import Relation, TableName
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.histories import BAG, KEYED, bag_transactions, keyed_transactions
from tests.lakehouse.replay import Row, as_bag, replay
from tests.lakehouse.source import USERS, Source, delete, insert, update

COLUMNS = {one.name: [column.name for column in one.columns] for one in (KEYED, BAG)}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data())
def test_rows_as_of_any_commit_are_what_replaying_up_to_it_leaves(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = LakeRoot(folder)
        source, writer = Source(), LakeWriter.open(root, "main")
        ids: dict[int, None] = {}
        bag: list[dict[str, Any]] = []
        told: dict[TableName, list[pa.Table]] = {KEYED.name: [], BAG.name: []}
        for relation in (KEYED, BAG):
            copy = source.copy(relation, [])
            writer.append_copy(copy)
            told[relation.name].append(copy.rows)

        first: Lsn | None = None
        for _ in range(data.draw(st.integers(1, 4), label="batches")):
            for _ in range(data.draw(st.integers(0, 3), label="transactions")):
                changes = data.draw(keyed_transactions(ids)) + data.draw(bag_transactions(bag))
                source.commit(*changes)
            batch = source.batch()
            for changed in batch.tables:
                told[changed.relation.name].append(changed.rows)
            writer.append(batch)
            if first is None or data.draw(st.booleans(), label="cut"):
                cut = writer.advance(batch.end_lsn.before(), batch.source_time)
                assert cut is not None
                first = first or cut.cut_lsn
        writer.close()
        assert first is not None and writer.durable_to is not None

        lake = Lake.open(root)
        for _ in range(2):
            asked = Lsn(data.draw(st.integers(first.value, writer.durable_to.value - 1), label="L"))
            note(f"as of {asked}, first cut {first}")
            as_of = lake.at(asked)
            for relation in (KEYED, BAG):
                expected = _replayed(relation, told[relation.name], asked)
                names = COLUMNS[relation.name]
                assert as_bag(_rows(lake.rows(relation.name, as_of).collect().to_arrow(), names)) == expected
                assert as_bag(_rows(lake.sql(f"FROM {relation.name}", at=as_of).arrow, names)) == expected
            counts = f"SELECT (SELECT count(*) FROM {KEYED.name}), (SELECT count(*) FROM {BAG.name})"
            (both,) = lake.sql(counts, at=asked).arrow.to_pylist()
            assert list(both.values()) == [len(_replayed(one, told[one.name], asked)) for one in (KEYED, BAG)]


def _replayed(relation: Relation, parts: Sequence[pa.Table], to: Lsn) -> list[Any]:
    rows = pa.concat_tables(parts).sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])
    rows = rows.filter(pa.compute.less_equal(rows["_commit_lsn"], to.value))
    return as_bag(replay(rows, relation.key, COLUMNS[relation.name]))


def _rows(table: pa.Table, names: Sequence[str]) -> list[Row]:
    return [Row({name: row[name] for name in names}, row["_valid_from_lsn"]) for row in table.to_pylist()]


def test_two_tables_that_one_transaction_changes_are_never_seen_apart(lake_root: LakeRoot) -> None:
    """Money moves between two tables: their sum is the same as of every LSN, in cuts and between them."""
    source, writer = Source(), LakeWriter.open(lake_root, "main")
    writer.append_copy(source.copy(USERS, [{"id": 0, "name": "100"}]))
    writer.append_copy(source.copy(KEYED, [{"id": 0, "name": "0"}]))
    batch = source.batch()
    writer.append(batch)
    writer.advance(batch.end_lsn.before(), batch.source_time)
    commits = []
    for number in range(1, 5):
        moved = (update(USERS, id=0, name=str(100 - number)), update(KEYED, id=0, name=str(number)))
        commits.append(source.commit(*moved))
        batch = source.batch()
        writer.append(batch)
        if number == 2:
            writer.advance(batch.end_lsn.before(), batch.source_time)
    writer.close()
    lake = Lake.open(lake_root)
    query = "SELECT u.name::INT AS one, k.name::INT AS other FROM public.users u JOIN public.keyed k USING (id)"

    answers = [lake.sql(query, at=Lsn(lsn.value + step)) for lsn in commits for step in (-1, 0)]

    found = [tuple(row.values()) for answer in answers for row in answer.arrow.to_pylist()]
    assert found == [(100 - n + back, n - back) for n in range(1, 5) for back in (1, 0)]
    assert all(answer.as_of.complete for answer in answers)


def test_a_cut_is_read_without_its_changelog(local_root: LakeRoot) -> None:
    writer = _lake_with_users(local_root, Source())
    writer.close()
    for file in (Path(local_root.uri("changelog", USERS.name))).rglob("*.parquet"):
        file.unlink()

    answer = Lake.open(local_root).sql("SELECT name FROM public.users ORDER BY id")

    assert answer.arrow["name"].to_pylist() == ["n0", "n1", "n2"]


def test_rows_that_did_not_change_after_the_cut_keep_their_place_and_age(lake_root: LakeRoot) -> None:
    source = Source()
    writer = _lake_with_users(lake_root, source)
    first = source.commit(update(USERS, id=1, name="new", unchanged=["bio"]), insert(USERS, id=9, name="n9"))
    source.commit(delete(USERS, id=0))
    writer.append(source.batch())
    writer.close()

    rows = Lake.open(lake_root).sql("FROM public.users ORDER BY id", at=first).arrow.to_pylist()

    changed = [row["id"] for row in rows if row["_valid_from_lsn"] == first.value]
    assert [(row["id"], row["name"], row["bio"]) for row in rows] == [
        (0, "n0", "b0"), (1, "new", "b1"), (2, "n2", "b2"), (9, "n9", None),
    ]  # fmt: skip
    assert changed == [1, 9]


def test_lsns_between_commits_mean_the_commit_before(lake_root: LakeRoot) -> None:
    source = Source()
    writer = _lake_with_users(lake_root, source)
    commits = [source.commit(insert(USERS, id=id)) for id in (10, 11)]
    writer.append(source.batch())
    writer.close()
    lake = Lake.open(lake_root)
    between = [Lsn(lsn.value + step) for lsn, later in pairwise([*commits, Lsn(commits[-1].value + 3)])
               for step in (0, 1, later.value - lsn.value - 1)]  # fmt: skip

    counts = [lake.sql("SELECT count(*) AS n FROM public.users", at=lsn).arrow["n"][0].as_py() for lsn in between]

    assert counts == [4, 4, 4, 5, 5, 5]


def _lake_with_users(root: LakeRoot, source: Source) -> LakeWriter:
    writer = LakeWriter.open(root, "main")
    writer.append_copy(source.copy(USERS, [{"id": n, "name": f"n{n}", "bio": f"b{n}"} for n in range(3)]))
    batch = source.batch()
    writer.append(batch)
    assert writer.advance(batch.end_lsn.before(), batch.source_time) is not None
    return writer
