"""Tables that change while they are streamed: every answer that calls itself complete equals the source of then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.answer import Answer
from pipelines.resync import request_resync
from tests.end_to_end.conftest import Pipeline, wait_until

TABLE = "CREATE TABLE t (id int PRIMARY KEY, a text, n int)"
ROWS = "INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, NULL, NULL), (9, 'nine', 9)"


@dataclass(frozen=True)
class Change:
    """What is done to the table, then a change of rows that the stream shows; some need no rows to be seen."""

    name: str
    statements: tuple[str, ...]
    rows: tuple[str, ...] = ("UPDATE t SET n = 10 WHERE id = 1", "DELETE FROM t WHERE id = 2")


CHANGES = (
    Change("add a column", ("ALTER TABLE t ADD b int",), ("INSERT INTO t VALUES (4, 'four', 4, 44)",)),
    Change("add a column with a default", ("ALTER TABLE t ADD b int DEFAULT 5",)),
    Change("add a column with a default of each row's own", ("ALTER TABLE t ADD b uuid DEFAULT gen_random_uuid()",)),
    Change("add a generated column", ("ALTER TABLE t ADD b int GENERATED ALWAYS AS (id * 2) STORED",)),
    Change("drop a column", ("ALTER TABLE t DROP a",)),
    Change("rename a column", ("ALTER TABLE t RENAME a TO b",)),
    Change(
        "swap the names of two columns",
        ("ALTER TABLE t RENAME a TO c", "ALTER TABLE t RENAME n TO a", "ALTER TABLE t RENAME c TO n"),
        ("UPDATE t SET a = 10 WHERE id = 1",),
    ),
    Change("widen a type", ("ALTER TABLE t ALTER n TYPE bigint",), ("UPDATE t SET n = 2^40 WHERE id = 1",)),
    Change("widen a type with other values", ("ALTER TABLE t ALTER n TYPE bigint USING n * 100",)),
    Change(
        "an incompatible type",
        ("ALTER TABLE t ALTER n TYPE text USING 'n' || n",),
        ("UPDATE t SET n = 'ten' WHERE id = 1",),
    ),
    Change(
        "drop and add again with another type",
        ("ALTER TABLE t DROP n", "ALTER TABLE t ADD n text DEFAULT 'x'"),
        ("UPDATE t SET n = 'ten' WHERE id = 1",),
    ),
    Change(
        "drop the key's column",
        ("ALTER TABLE t DROP id", "ALTER TABLE t REPLICA IDENTITY FULL"),
        ("UPDATE t SET n = 10 WHERE a = 'one'", "DELETE FROM t WHERE a = 'two'"),
    ),
    Change(
        "another key",
        (
            "UPDATE t SET a = 'three' WHERE a IS NULL",
            "ALTER TABLE t DROP CONSTRAINT t_pkey",
            "ALTER TABLE t ADD PRIMARY KEY (a)",
        ),
        ("UPDATE t SET id = 10 WHERE a = 'one'", "UPDATE t SET a = 'zwei' WHERE a = 'two'"),
    ),
    Change("identity full", ("ALTER TABLE t REPLICA IDENTITY FULL",)),
    Change(
        "identity full without a key",
        ("ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t DROP CONSTRAINT t_pkey"),
        ("INSERT INTO t VALUES (1, 'again', 7)", "DELETE FROM t WHERE n = 7", "UPDATE t SET id = 3"),
    ),
    Change(
        "identity by another index",
        (
            "UPDATE t SET n = 3 WHERE n IS NULL",
            "ALTER TABLE t ALTER n SET NOT NULL",
            "CREATE UNIQUE INDEX t_n ON t (n)",
            "ALTER TABLE t REPLICA IDENTITY USING INDEX t_n",
        ),
    ),
    Change("identity nothing", ("ALTER TABLE t REPLICA IDENTITY NOTHING",), ("INSERT INTO t VALUES (4, 'four', 4)",)),
    Change(
        "drop and create anew",
        (
            "DROP TABLE t",
            "CREATE TABLE t (id int PRIMARY KEY, a text, n int)",
            "INSERT INTO t VALUES (1, 'new', 1), (7, 'seven', 7)",
            "ALTER PUBLICATION {publication} ADD TABLE t",
        ),
    ),
    Change(
        "drop and create anew with other columns",
        (
            "DROP TABLE t",
            "CREATE TABLE t (k uuid PRIMARY KEY, n text)",
            "INSERT INTO t VALUES (gen_random_uuid(), '1')",
            "ALTER PUBLICATION {publication} ADD TABLE t",
        ),
        ("UPDATE t SET n = '10'",),
    ),
    Change(
        "in one transaction with changes before it",
        (
            "BEGIN; INSERT INTO t VALUES (4, 'four', 4); ALTER TABLE t ADD b int DEFAULT 5;"
            " INSERT INTO t VALUES (5); COMMIT",
        ),
    ),
)


@dataclass
class Moments:
    """The source's rows at moments that are told apart by their LSNs."""

    pipeline: Pipeline
    all: list[tuple[Lsn, list[str], list[tuple[Any, ...]]]] = field(default_factory=list)

    def take(self, question: str = "SELECT * FROM t") -> None:
        with self.pipeline.database.connect() as connection:
            cursor = connection.execute(question)
            names = [column.name for column in cursor.description or ()]
            rows = sorted(cursor.fetchall(), key=repr)
            ((lsn,),) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
        self.all.append((Lsn.parse(lsn), names, rows))

    def answered(self) -> list[bool]:
        """Which moments are answered completely; those equal the source's, by value."""
        lake = self.pipeline.lake()
        found = []
        for lsn, names, rows in self.all:
            answer = lake.sql("SELECT * EXCLUDE (_valid_from, _valid_from_lsn) FROM public.t", at=lsn)
            found.append(answer.as_of.complete)
            if answer.as_of.complete:
                assert (answer.columns, values(answer)) == (names, sorted(texts(rows), key=repr)), f"at {lsn}"
        return found


def values(answer: Answer) -> list[tuple[Any, ...]]:
    return sorted(texts(tuple(row.values()) for row in answer.arrow.to_pylist()), key=repr)


def texts(rows: Any) -> list[tuple[Any, ...]]:
    """A uuid is text in the lake."""
    return [tuple(one if isinstance(one, int | None) else str(one) for one in row) for row in rows]


@pytest.fixture
def streamed(pipeline: Pipeline) -> Pipeline:
    pipeline.database.execute(TABLE, ROWS, f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t")
    pipeline.drain()
    return pipeline


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_of_the_table_is_followed(streamed: Pipeline, change: Change) -> None:
    publication = streamed.database.name
    moments = Moments(streamed)
    moments.take()
    streamed.database.execute("UPDATE t SET n = n + 1 WHERE id = 2")
    moments.take()
    streamed.database.execute("UPDATE t SET n = n + 1 WHERE id = 2")  # the last that shows the table as it was

    streamed.database.execute(*(one.format(publication=publication) for one in change.statements))
    streamed.database.execute(*change.rows)
    streamed.drain()
    # Generated columns aren't published unless the publication says so.
    moments.take("SELECT id, a, n FROM t" if change.name == "add a generated column" else "SELECT * FROM t")
    streamed.drain()

    assert streamed.reconcile_drained().mismatches == 0
    assert moments.answered() == [True, True, True]


UNSEEN = (
    Change("drop a column and add it again", ("ALTER TABLE t DROP a", "ALTER TABLE t ADD a text DEFAULT 'x'")),
    Change("write a column anew under its type", ("ALTER TABLE t ALTER a TYPE text USING upper(a)",)),
    Change("leave a column out of the publication", ("ALTER PUBLICATION {publication} SET TABLE t (id, n)",)),
    Change("filter rows", ("ALTER PUBLICATION {publication} SET TABLE t WHERE (id > 1)",)),
    Change(
        "leave the publication and come back",
        (
            "ALTER PUBLICATION {publication} DROP TABLE t",
            "UPDATE t SET a = 'missed' WHERE id = 3; DELETE FROM t WHERE id = 1",
            "ALTER PUBLICATION {publication} ADD TABLE t",
        ),
    ),
    Change(
        "alter what is published",
        (
            "ALTER PUBLICATION {publication} SET (publish = 'insert')",
            "DELETE FROM t WHERE id = 1",
            "ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate')",
        ),
    ),
    Change("add a column with a default", ("ALTER TABLE t ADD b int DEFAULT 5",)),
    Change("add an empty column", ("ALTER TABLE t ADD b int",)),
    Change("drop a column", ("ALTER TABLE t DROP a",)),
    Change("rename a column", ("ALTER TABLE t RENAME a TO b",)),
    Change(
        "swap the names of two columns",
        (
            "ALTER TABLE t ADD b text",
            "UPDATE t SET b = a || a",
            "ALTER TABLE t RENAME a TO c",
            "ALTER TABLE t RENAME b TO a",
            "ALTER TABLE t RENAME c TO b",
        ),
    ),
    Change(
        "drop a column and give its name to another",
        ("ALTER TABLE t DROP n", "ALTER TABLE t ADD m int DEFAULT 3", "ALTER TABLE t RENAME m TO n"),
    ),
    Change(
        "another key",
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (n)"),
    ),
    Change(
        "drop and create anew",
        ("DROP TABLE t", TABLE, "INSERT INTO t VALUES (1, 'new', 1)", "ALTER PUBLICATION {publication} ADD TABLE t"),
    ),
)


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
@pytest.mark.parametrize("rows", [(), ("INSERT INTO t (id, n) VALUES (20, 20)",)], ids=["no row", "a row"])
@pytest.mark.parametrize("change", UNSEEN, ids=lambda change: change.name)
def test_a_change_that_no_row_shows_is_followed(streamed: Pipeline, change: Change, rows: tuple[str, ...]) -> None:
    """Done while nobody captures; what is missed for good is a gap, and nothing else is."""
    streamed.database.execute("DELETE FROM t WHERE n IS NULL")
    moments = Moments(streamed)
    moments.take()
    streamed.drain()

    streamed.database.execute(*(one.format(publication=streamed.database.name) for one in change.statements), *rows)
    streamed.drain()
    question = {
        "filter rows": "SELECT * FROM t WHERE id > 1",
        "leave a column out of the publication": "SELECT id, n FROM t",
    }.get(change.name, "SELECT * FROM t")
    moments.take(question)
    streamed.drain()

    assert moments.answered() == [True, True]
    assert streamed.reconcile_drained().mismatches == 0
    assert streamed.lake().sql("FROM public.t").as_of.complete


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_copy_that_is_the_first_to_show_a_change_says_since_when_it_may_have_been(streamed: Pipeline) -> None:
    moments = Moments(streamed)
    moments.take()
    streamed.drain()
    streamed.drain()
    streamed.database.execute("ALTER TABLE t ADD b int DEFAULT 5")
    moments.take()
    request_resync(streamed.config, [TableName("public", "t")], reason="")

    streamed.drain()
    moments.take()
    streamed.drain()

    assert moments.answered() == [True, False, True]


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_label_that_was_renamed_is_renamed_in_every_row_and_what_lies_between_is_a_gap(pipeline: Pipeline) -> None:
    pipeline.database.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TABLE t (id int PRIMARY KEY, a mood)",
        "INSERT INTO t VALUES (1, 'sad'), (2, 'ok')",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    pipeline.drain()
    moments = Moments(pipeline)
    moments.take("SELECT id, a::text FROM t")
    pipeline.drain()
    pipeline.drain()

    pipeline.database.execute("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "INSERT INTO t VALUES (3, 'blue')")
    moments.take("SELECT id, a::text FROM t")
    pipeline.drain()
    moments.take("SELECT id, a::text FROM t")
    pipeline.drain()

    assert moments.answered() == [True, False, True]
    assert pipeline.reconcile_drained().mismatches == 0


ANOTHER_KEY = ("ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (a)")


@pytest.fixture
def full(pipeline: Pipeline) -> Pipeline:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    pipeline.drain()
    return pipeline


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_another_primary_key_under_identity_full_loses_no_row_that_only_the_old_one_told_apart(full: Pipeline) -> None:
    full.database.execute("INSERT INTO t VALUES (5, 'x')", "INSERT INTO t VALUES (6, 'x')")
    full.database.execute("UPDATE t SET a = 'y' WHERE id = 6", *ANOTHER_KEY, "UPDATE t SET id = 9 WHERE a = 'one'")

    full.drain()

    assert full.reconcile_drained().mismatches == 0
    assert full.lake().sql("FROM public.t").as_of.complete


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_another_primary_key_under_identity_full_while_it_is_streamed_loses_no_row(full: Pipeline) -> None:
    def held(rows: int) -> bool:
        return full.lake().sql("SELECT count(*) AS n FROM public.t").arrow["n"].to_pylist() == [rows]

    with full.running():
        full.database.execute("INSERT INTO t VALUES (3, 'three')")
        wait_until(lambda: held(3), "a row under the old key")
        full.database.execute(*ANOTHER_KEY, "INSERT INTO t VALUES (2, 'again two'), (2, 'and again')")
        wait_until(lambda: held(5), "rows that the old key doesn't tell apart")
        full.database.execute("DELETE FROM t WHERE a = 'two'", "UPDATE t SET id = 2")
        found = full.reconcile()

    assert found.mismatches == 0
    assert full.reconcile_drained().mismatches == 0
