from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.relation import Relation
from lakehouse.errors import RowMissing
from lakehouse.fold import Longs, fold
from lakehouse.key_hash import hash_rows
from lakehouse.unchanged import whole_rows
from tests.lakehouse.histories import BAG, KEYED, bag_transactions, keyed_transactions
from tests.lakehouse.replay import Row, as_bag, replay
from tests.lakehouse.source import USERS, Change, Source, delete, insert, truncate, update


def changes_of(*transactions: list[Change]) -> pa.Table:
    source = Source()
    for transaction in transactions:
        source.commit(*transaction)
    (changes,) = source.batch().tables
    return changes.rows


def apply(rows: pa.Table, relation: Relation, table: list[Row]) -> list[Row]:
    """``table`` with the fold of ``rows`` applied, rows looked up by the hash of their key."""
    columns = [column.name for column in relation.columns]
    folded = fold(rows, relation.key, columns, str(relation.name))
    if folded.cleared:
        table = []
    held = pa.Table.from_pylist(
        [dict(row.values) for row in table], schema=pa.schema([(c.name, c.lake_type) for c in relation.columns])
    )
    hashes = [tuple(one) for one in hash_rows([held[name] for name in relation.key or columns], len(table))]
    found: list[int] = []
    counts = []
    for sought, removals in zip(folded.sought, folded.removals, strict=True):
        rows_found = [at for at, one in enumerate(hashes) if one == tuple(sought)][:removals]
        found += rows_found
        counts.append(len(rows_found))

    def fetch(which: Longs, name: str) -> pa.ChunkedArray:
        return held[name].take(pa.array([found[one] for one in which]))

    settled = folded.settle(np.array(counts, dtype=np.int64), str(relation.name), relation.key or columns)
    kept = whole_rows(folded.rows, settled, columns, fetch).to_pylist()
    left = [row for at, row in enumerate(table) if at not in found]
    return left + [Row({name: row[name] for name in columns}, row["_commit_lsn"]) for row in kept]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_applying_the_fold_of_a_keyed_history_equals_replaying_it(data: st.DataObject) -> None:
    ids: dict[int, None] = {}
    before = data.draw(st.lists(st.deferred(lambda: keyed_transactions(ids)), min_size=1, max_size=3), label="before")
    batch = data.draw(st.lists(st.deferred(lambda: keyed_transactions(ids)), min_size=1, max_size=4), label="batch")
    columns = [column.name for column in KEYED.columns]
    table = replay(changes_of(*before), KEYED.key, columns)

    applied = apply(changes_of(*batch), KEYED, table)

    assert as_bag(applied) == as_bag(replay(changes_of(*batch), KEYED.key, columns, table))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_applying_the_fold_of_a_table_without_a_key_equals_replaying_it(data: st.DataObject) -> None:
    rows: list[dict[str, object]] = []
    before = data.draw(st.lists(st.deferred(lambda: bag_transactions(rows)), min_size=1, max_size=3), label="before")
    batch = data.draw(st.lists(st.deferred(lambda: bag_transactions(rows)), min_size=1, max_size=4), label="batch")
    columns = [column.name for column in BAG.columns]
    table = replay(changes_of(*before), (), columns)

    applied = apply(changes_of(*batch), BAG, table)

    assert as_bag(applied) == as_bag(replay(changes_of(*batch), (), columns, table))


def test_a_row_inserted_and_deleted_in_one_batch_leaves_nothing() -> None:
    assert apply(changes_of([insert(USERS, id=1, name="a")], [delete(USERS, id=1)]), USERS, []) == []


def test_a_value_left_out_twice_comes_from_the_table() -> None:
    table = [Row({"id": 1, "name": "a", "bio": "long"}, 5)]

    applied = apply(
        changes_of(
            [update(USERS, id=1, name="b", unchanged=["bio"])],
            [update(USERS, old={"id": 1}, id=2, name="c", unchanged=["bio"])],
        ),
        USERS,
        table,
    )

    assert [dict(row.values) for row in applied] == [{"id": 2, "name": "c", "bio": "long"}]


def test_a_key_value_left_out_is_that_of_the_old_key() -> None:
    table = [Row({"id": 1, "name": "a", "bio": "long"}, 5)]

    applied = apply(changes_of([update(USERS, old={"id": 1}, name="b", unchanged=["id", "bio"])]), USERS, table)

    assert [dict(row.values) for row in applied] == [{"id": 1, "name": "b", "bio": "long"}]


def test_a_change_of_a_row_that_is_not_there_names_table_commit_and_row() -> None:
    with pytest.raises(RowMissing, match=r"update at commit 16/1200 names the row \{'id': 7\}") as raised:
        apply(changes_of([insert(USERS, id=1)], [update(USERS, id=7, name="b")]), USERS, [])

    assert raised.value.subject == "public.users"


def test_a_delete_after_a_truncate_misses_its_row_even_if_the_table_held_it() -> None:
    with pytest.raises(RowMissing):
        apply(changes_of([truncate(USERS), delete(USERS, id=1)]), USERS, [Row({"id": 1, "name": "a", "bio": None}, 5)])
