"""Copies: parts under one snapshot that are the table together, and rows that nobody may hide from them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from cdc import copy as copying
from cdc.catalogue import Catalogue, PublishedTable
from cdc.copy import copied_pieces, copy_parts, exported_snapshot
from cdc.errors import PrivilegeMissing, SnapshotGone
from tests.cdc.conftest import Source


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_PART_BLOCKS", 4)
    monkeypatch.setattr(copying, "_SLICE_BYTES", 4096)


def the_table(source: Source, name: str) -> PublishedTable:
    (found,) = [t for t in Catalogue(source.dsn).published(source.publication) if t.relation.name.table == name]
    return found


def in_parts(source: Source, name: str) -> tuple[int, pa.Table]:
    """How many parts, and all their rows."""
    table, catalogue = the_table(source, name), Catalogue(source.dsn)
    with exported_snapshot(source.dsn) as snapshot:
        source.execute(
            f"INSERT INTO {name} (id) SELECT -x FROM generate_series(1, 2000) x", f"DELETE FROM {name} WHERE id = 7"
        )
        parts = copy_parts(source.dsn, table)
        pieces = [
            piece.rows
            for part in parts
            for piece in copied_pieces(source.dsn, "test", table, catalogue, snapshot, part)
        ]
    return len(parts), pa.concat_tables(pieces, promote_options="default")


@pytest.mark.parametrize(
    "kind",
    ["plain", "partitioned"],
)
def test_the_parts_of_a_copy_are_the_table_at_its_snapshot_row_for_row(source: Source, kind: str) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)"
        if kind == "plain"
        else "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY HASH (id)",
        *(
            []
            if kind == "plain"
            else [f"CREATE TABLE t{n} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in range(2)]
        ),
        "INSERT INTO t SELECT x, repeat('x', 50) FROM generate_series(1, 3000) x",
        "UPDATE t SET v = 'changed' WHERE id % 3 = 0",
        "ALTER PUBLICATION published SET (publish_via_partition_root = true)",
        "ALTER PUBLICATION published ADD TABLE t",
    )

    parts, rows = in_parts(source, "t")

    assert parts > 4
    assert sorted(rows["id"].to_pylist()) == list(range(1, 3001))
    assert len(set(rows["_ordinal"].to_pylist())) == 3000
    assert sum(v == "changed" for v in rows["v"].to_pylist()) == 1000


def test_a_row_filter_holds_in_every_part(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT x, repeat('x', 50) FROM generate_series(1, 3000) x",
        "ALTER PUBLICATION published ADD TABLE t WHERE (id < 100 OR id > 2900)",
    )

    parts, rows = in_parts(source, "t")

    assert parts > 4
    assert sorted(rows["id"].to_pylist()) == [*range(1, 100), *range(2901, 3001)]


def test_a_copy_of_a_parent_leaves_its_children_to_their_own(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "CREATE TABLE child () INHERITS (t)",
        "INSERT INTO t VALUES (1, 'parent')",
        "INSERT INTO child VALUES (2, 'child')",
        "ALTER PUBLICATION published ADD TABLE ONLY t",
    )

    _, rows = in_parts(source, "t")

    assert rows["id"].to_pylist() == [1]


@pytest.fixture
def reader(source: Source) -> Iterator[str]:
    """A role that may read everything and replicate, but is no superuser; its DSN."""
    role = f"reader_{source.database.name}"
    source.execute(
        f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'pw'",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}",
    )
    yield source.database.server.dsn(source.database.name, user=role, password="pw")
    source.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_a_policy_that_would_hide_rows_fails_the_copy_instead(source: Source, reader: str) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (2)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY half ON t USING (id = 1)",
        "ALTER PUBLICATION published ADD TABLE t",
    )
    table, catalogue = the_table(source, "t"), Catalogue(reader)

    with exported_snapshot(reader) as snapshot, pytest.raises(PrivilegeMissing, match="row-level security"):
        list(copied_pieces(reader, "test", table, catalogue, snapshot, copy_parts(reader, table)[0]))


def test_a_snapshot_that_is_gone_is_said(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY)", "ALTER PUBLICATION published ADD TABLE t")
    table, catalogue = the_table(source, "t"), Catalogue(source.dsn)
    with exported_snapshot(source.dsn) as snapshot:
        parts = copy_parts(source.dsn, table)

    with pytest.raises(SnapshotGone):
        list(copied_pieces(source.dsn, "test", table, catalogue, snapshot, parts[0]))


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE t",
        "TRUNCATE t; INSERT INTO t VALUES (2, 'new')",
        "TRUNCATE t1",
        "ALTER TABLE t ALTER v TYPE varchar(5) USING left(v, 5)",
    ],
)
def test_a_table_truncated_or_rewritten_behind_the_snapshot_is_not_copied_as_empty(source: Source, change: str) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY HASH (id)",
        *(f"CREATE TABLE t{n} PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER {n})" for n in range(2)),
        "INSERT INTO t SELECT x, repeat('x', 50) FROM generate_series(1, 300) x",
        "ALTER PUBLICATION published SET (publish_via_partition_root = true)",
        "ALTER PUBLICATION published ADD TABLE t",
    )
    table, catalogue = the_table(source, "t"), Catalogue(source.dsn)

    with exported_snapshot(source.dsn) as snapshot:
        source.execute(*change.split("; "))
        with pytest.raises(SnapshotGone, match="truncated or rewritten"):
            for part in copy_parts(source.dsn, table):
                list(copied_pieces(source.dsn, "test", table, catalogue, snapshot, part))
