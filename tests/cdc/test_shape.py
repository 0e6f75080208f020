"""What two looks at the catalogue tell apart, asked of a real server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc.catalogue import Catalogue
from cdc.relation import TableName
from cdc.shape import Look, came_empty, look, unannounced
from tests.conftest import Database

T = TableName("public", "t")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, a text, n int)"
ROWS = "INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2)"
PARTS = (
    "CREATE TABLE t (id int PRIMARY KEY, a text, n int) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
)
PART = "CREATE TABLE p2 (LIKE t INCLUDING ALL)"


def looks(database: Database, *statements: str, setup: tuple[str, ...] = (TABLE, ROWS)) -> tuple[Look, Look]:
    database.execute(*setup, "CREATE PUBLICATION p FOR TABLE t WITH (publish_via_partition_root = true)")
    before = look(database.dsn, "p")
    database.execute(*statements)
    return before, look(database.dsn, "p")


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("ALTER TABLE t DROP a", "ALTER TABLE t ADD a text"), "column a was dropped and made anew"),
        (("ALTER TABLE t ALTER a TYPE text USING upper(a)",), "the table was rewritten, and column a with it"),
        (("ALTER PUBLICATION p SET TABLE t WHERE (n > 1)",), "row filter has changed"),
        (("ALTER PUBLICATION p DROP TABLE t", "ALTER PUBLICATION p ADD TABLE t"), "it left the publication and came"),
        (("ALTER TABLE t RENAME a TO c", "ALTER TABLE t ADD a text", "ALTER TABLE t DROP c"), "column a was dropped"),
    ],
)
def test_what_changes_rows_unseen_is_told(database: Database, statements: tuple[str, ...], said: str) -> None:
    before, after = looks(database, *statements)

    assert said in (unannounced(before.tables[T], after.tables[T]) or "nothing")


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (n)"), "its primary key has changed"),
        (("ALTER TABLE t DROP CONSTRAINT t_pkey",), "its primary key has changed"),
        (("ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (id)"), "nothing"),
        (("ALTER TABLE t RENAME id TO k",), "nothing"),
        (("ALTER TABLE t REPLICA IDENTITY DEFAULT",), "nothing"),
    ],
)
def test_another_primary_key_is_told_where_every_column_is_announced_as_the_key(
    database: Database, statements: tuple[str, ...], said: str
) -> None:
    before, after = looks(database, *statements, setup=(TABLE, ROWS, "ALTER TABLE t REPLICA IDENTITY FULL"))

    assert said in (unannounced(before.tables[T], after.tables[T]) or "nothing")


ENUM = "CREATE TYPE mood AS ENUM ('sad', 'ok')"


@pytest.mark.parametrize(
    "made_of_it",
    [
        ("ALTER TABLE t ADD m mood",),
        ("ALTER TABLE t ADD m mood[]",),
        ("CREATE DOMAIN good AS mood CHECK (value <> 'sad')", "ALTER TABLE t ADD m good"),
        ("CREATE TYPE pair AS (a int, b mood[])", "ALTER TABLE t ADD m pair[]"),
        ("CREATE TYPE moods AS RANGE (subtype = mood)", "ALTER TABLE t ADD m moods"),
    ],
    ids=["itself", "array", "domain", "composite", "range"],
)
def test_an_enums_label_is_told_when_it_is_renamed_and_not_when_it_is_added(
    database: Database, made_of_it: tuple[str, ...]
) -> None:
    before, added = looks(database, "ALTER TYPE mood ADD VALUE 'good'", setup=(TABLE, ROWS, ENUM, *made_of_it))
    database.execute("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    renamed = look(database.dsn, "p")

    assert before.tables[T] != added.tables[T]
    assert unannounced(before.tables[T], added.tables[T]) is None
    assert before.tables[T].is_announced_as(added.tables[T])
    assert unannounced(added.tables[T], renamed.tables[T]) == "the enum's label sad was renamed to blue"


def test_what_an_older_version_wrote_down_without_labels_says_nothing_of_them(database: Database) -> None:
    database.execute(TABLE, ENUM, "ALTER TABLE t ADD m mood", "CREATE PUBLICATION p FOR TABLE t")

    now = look(database.dsn, "p").tables[T]

    assert now.labels and unannounced(replace(now, labels={}), now) is None


@pytest.mark.parametrize(
    "statements",
    [
        ("INSERT INTO t VALUES (3)", "UPDATE t SET n = 5", "DELETE FROM t", "TRUNCATE t"),
        ("VACUUM FULL t", "ANALYZE t", "CLUSTER t USING t_pkey"),
        ("ALTER TABLE t ALTER n SET DEFAULT 5", "ALTER TABLE t ALTER a SET STATISTICS 5"),
        ("CREATE INDEX ON t (a)", "ALTER TABLE t ADD CHECK (id > 0)", "COMMENT ON TABLE t IS 'x'"),
        ("ALTER TABLE t ADD b int", "ALTER TABLE t DROP b"),
        ("CREATE TABLE other (id int PRIMARY KEY)", "ALTER PUBLICATION p ADD TABLE other"),
    ],
)
def test_what_changes_no_row_unseen_is_not(database: Database, statements: tuple[str, ...]) -> None:
    before, after = looks(database, *statements)

    assert unannounced(before.tables[T], after.tables[T]) is None
    assert before.tables[T].is_announced_as(after.tables[T])
    assert before.publication == after.publication


def test_a_table_made_anew_is_announced_and_nothing_of_it_is_vouched_for(database: Database) -> None:
    before, after = looks(database, "DROP TABLE t", TABLE, "ALTER PUBLICATION p ADD TABLE t")
    (table,) = Catalogue(database.dsn).published("p")

    assert not before.tables[T].is_announced_as(after.tables[T])
    assert not came_empty(before.tables[T], after.tables[T], table.relation)


@pytest.mark.parametrize(
    "setting",
    ["publish_via_partition_root = false", "publish = 'insert'"],
)
def test_a_publication_altered_as_a_whole_is_told(database: Database, setting: str) -> None:
    before, after = looks(database, f"ALTER PUBLICATION p SET ({setting})")

    assert before.publication != after.publication


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (
            (PART, "INSERT INTO p2 VALUES (11)", "ALTER TABLE t ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)"),
            "p2 was",
        ),
        (
            (f"BEGIN; {PART}; INSERT INTO p2 VALUES (11); ALTER TABLE t ATTACH PARTITION p2 DEFAULT; COMMIT",),
            "partition p2 was attached",
        ),
        (("ALTER TABLE t DETACH PARTITION p1",), "partition p1 is gone"),
        (("DROP TABLE p1",), "partition p1 is gone"),
        (("CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (10) TO (20)",), None),
        (("BEGIN; CREATE TABLE p2 PARTITION OF t DEFAULT; INSERT INTO t VALUES (11); COMMIT",), None),
        (("TRUNCATE p1",), None),
    ],
)
def test_a_partition_that_brings_or_takes_rows_is_told(
    database: Database, statements: tuple[str, ...], said: str | None
) -> None:
    before, after = looks(database, *statements, setup=PARTS)

    told = unannounced(before.tables[T], after.tables[T])
    assert told is None if said is None else said in (told or "nothing")


@pytest.mark.parametrize(
    ("statement", "empty"),
    [
        ("ALTER TABLE t ADD b int", True),
        ("ALTER TABLE t ADD b int DEFAULT NULL", True),
        ("ALTER TABLE t DROP a", True),
        ("ALTER TABLE t ALTER a TYPE varchar", True),
        ("ALTER TABLE t ADD b int DEFAULT 5", False),
        ("ALTER TABLE t ADD b uuid DEFAULT gen_random_uuid()", False),
        ("ALTER TABLE t ADD b int GENERATED ALWAYS AS IDENTITY", False),
        ("ALTER TABLE t ADD b int GENERATED ALWAYS AS (id * 2) STORED", False),
        ("ALTER TABLE t ALTER n TYPE bigint", False),
        ("ALTER TABLE t RENAME a TO b", False),
        ("ALTER TABLE t DROP a, ADD a text; UPDATE t SET a = 'new'; ALTER TABLE t RENAME a TO b", False),
        ("ALTER TABLE t ADD b text; UPDATE t SET b = 'new'; ALTER TABLE t DROP b, ADD b text", False),
        ("ALTER TABLE t ADD b text; ALTER TABLE t ADD c text", True),
    ],
)
def test_a_column_that_came_empty_is_told_from_one_that_came_with_values(
    database: Database, statement: str, empty: bool
) -> None:
    generated = "STORED" in statement
    setting = ("ALTER PUBLICATION p SET (publish_generated_columns = stored)",) if generated else ()
    database.execute(TABLE, ROWS, "CREATE PUBLICATION p FOR TABLE t", *setting)
    before = look(database.dsn, "p").tables[T]
    database.execute(*statement.split("; "))

    after = look(database.dsn, "p").tables[T]
    (table,) = Catalogue(database.dsn).published("p")

    assert came_empty(before, after, table.relation) is empty


@pytest.mark.parametrize(("default", "empty"), [("NULL", True), ("5", False)])
def test_the_default_of_a_partitioned_tables_new_column_is_found_in_its_partitions(
    database: Database, default: str, empty: bool
) -> None:
    before, after = looks(database, f"ALTER TABLE t ADD b int DEFAULT {default}", setup=(*PARTS, ROWS))

    (table,) = Catalogue(database.dsn).published("p")

    assert came_empty(before.tables[T], after.tables[T], table.relation) is empty
