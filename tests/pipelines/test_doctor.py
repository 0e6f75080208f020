"""rireki doctor and init against a real server: each thing that may be wrong is found, named and given its fix."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from cdc.errors import PrivilegeMissing, TableNotPublished
from cdc.publication import matching_tables, published_tables
from cdc.relation import TableName
from lakehouse.errors import NameCollision
from pipelines.config import load
from pipelines.doctor import Check, State, examine
from pipelines.errors import ConfigExists, NothingToPublish
from pipelines.setup import Setup, set_up
from tests.conftest import Database


def setup_for(database: Database, folder: Path, *patterns: str, dsn: str | None = None) -> Setup:
    return Setup(
        source=dsn or database.dsn,
        lake=str(folder / "lake"),
        patterns=patterns,
        stream="rireki_" + database.name,
        endpoint=None,
        region="us-east-1",
        folder=folder,
        with_publication=True,
        overwrite=False,
    )


def found(file: Path) -> dict[str, Check]:
    return {check.name: check for check in examine(file)}


@pytest.fixture
def shop(database: Database) -> Database:
    database.execute(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id bigint PRIMARY KEY, total numeric(12, 2), note text)",
        "CREATE TABLE shop.lines (order_id bigint, at timestamptz, PRIMARY KEY (order_id, at))",
        "CREATE TABLE shop.visits (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE shop.visits_2026 PARTITION OF shop.visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "CREATE UNLOGGED TABLE shop.scratch (id bigint PRIMARY KEY)",
    )
    return database


@pytest.fixture
def reader(shop: Database) -> Iterator[str]:
    """A role of its own with nothing but the right to log in; its DSN."""
    role = "reader_" + shop.name
    with shop.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'pw'").format(sql.Identifier(role)))
    yield shop.server.dsn(shop.name, user=role, password="pw")
    shop.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_init_leaves_a_checked_file_and_a_publication_that_lists_its_tables(shop: Database, tmp_path: Path) -> None:
    made = set_up(setup_for(shop, tmp_path, "shop.*"))

    names = [TableName("shop", "lines"), TableName("shop", "orders"), TableName("shop", "visits")]
    assert list(made.tables) == names
    assert shop.rows("SELECT puballtables, pubviaroot FROM pg_publication") == [(False, True)]
    assert {check.state for check in examine(made.file)} == {State.OK}


def test_init_keeps_the_password_out_of_the_file(shop: Database, tmp_path: Path) -> None:
    made = set_up(setup_for(shop, tmp_path, "shop.orders"))

    assert shop.server.password not in made.file.read_text()
    assert stat.S_IMODE((tmp_path / "rireki.password").stat().st_mode) == 0o600
    assert shop.server.password in load(made.file).conninfo()


def test_init_without_tables_takes_an_existing_publication_as_it_is(shop: Database, tmp_path: Path) -> None:
    shop.execute(f"CREATE PUBLICATION rireki_{shop.name} FOR TABLE shop.orders (id, total)")

    made = set_up(setup_for(shop, tmp_path))

    assert made.tables == (TableName("shop", "orders"),)


def test_init_refuses_to_widen_an_existing_publication_behind_its_owners_back(shop: Database, tmp_path: Path) -> None:
    shop.execute(f"CREATE PUBLICATION rireki_{shop.name} FOR TABLE shop.orders")

    with pytest.raises(TableNotPublished) as raised:
        set_up(setup_for(shop, tmp_path, "shop.orders", "shop.lines"))

    assert raised.value.subject == "shop.lines"
    assert raised.value.fix.startswith(f'ALTER PUBLICATION "rireki_{shop.name}" ADD TABLE "shop"."lines"')
    assert not list(tmp_path.iterdir())


def test_init_does_not_write_over_a_file_unless_told_to(shop: Database, tmp_path: Path) -> None:
    (tmp_path / "rireki.toml").write_text("mine")

    with pytest.raises(ConfigExists):
        set_up(setup_for(shop, tmp_path, "shop.*"))

    assert (tmp_path / "rireki.toml").read_text() == "mine"
    assert shop.rows("SELECT 1 FROM pg_publication") == []


@pytest.mark.parametrize("pattern", ["shop.nothing", "nowhere.*", "orders"])
def test_init_refuses_a_pattern_that_matches_nothing(shop: Database, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(NothingToPublish, match=pattern.replace("*", r"\*")):
        set_up(setup_for(shop, tmp_path, "shop.orders", pattern))

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("_text_id text", "column _text_id has a name that the lake uses itself"),
        ("_op text", "column _op has a name that the lake uses itself"),
        ('"_VALID_from" text', "column _VALID_from has a name that the lake uses itself"),
        ('total int, "Total" int', "columns total and Total differ only by case"),
        ('"Größe" int, "GRÖSSE" int', "columns Größe and GRÖSSE differ only by case"),
    ],
)
def test_init_takes_the_publication_back_when_the_lake_cannot_hold_a_name(
    shop: Database, tmp_path: Path, columns: str, said: str
) -> None:
    shop.execute(f"CREATE TABLE shop.places (id bigint PRIMARY KEY, {columns})")

    with pytest.raises(NameCollision, match=said) as raised:
        set_up(setup_for(shop, tmp_path, "shop.*"))

    assert raised.value.subject == "shop.places"
    assert "rename" in raised.value.fix
    assert shop.rows("SELECT 1 FROM pg_publication") == []
    assert not list(tmp_path.iterdir())


def test_tables_that_differ_only_by_case_are_refused_before_anything_starts(shop: Database, tmp_path: Path) -> None:
    shop.execute('CREATE TABLE shop."Orders" (id bigint PRIMARY KEY)')

    with pytest.raises(NameCollision, match=r"differs from shop\.Orders only by case") as raised:
        set_up(setup_for(shop, tmp_path, "shop.*"))

    assert raised.value.subject == "shop.orders"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("statements", "said", "next_step"),
    [
        (
            ["CREATE SCHEMA system", "CREATE TABLE system.users (id int PRIMARY KEY)"],
            "means something else",
            'current."system.users"',
        ),
        (['CREATE TABLE shop.forms (id int PRIMARY KEY, "first name" text)'], "'shop.forms.first name'", "Spark"),
    ],
)
def test_names_that_some_reader_stumbles_over_are_said_and_taken(
    shop: Database, tmp_path: Path, statements: list[str], said: str, next_step: str
) -> None:
    shop.execute(*statements)

    check = found(set_up(setup_for(shop, tmp_path, "*.*")).file)["names"]

    assert check.state is State.WARNING
    assert said in check.what and next_step in check.fix


def test_init_takes_a_schema_with_a_dot_in_quotes(shop: Database, tmp_path: Path) -> None:
    shop.execute('CREATE SCHEMA "shop.old"', 'CREATE TABLE "shop.old".orders (id bigint PRIMARY KEY)')

    made = set_up(setup_for(shop, tmp_path, '"shop.old".*'))

    assert made.tables == (TableName("shop.old", "orders"),)
    assert "shop.old" in str(found(made.file)['table "shop.old".orders'])


def test_a_type_that_only_postgresql_prints_is_no_failure_and_is_said(shop: Database, tmp_path: Path) -> None:
    shop.execute("CREATE TABLE shop.prices (id bigint PRIMARY KEY, at money)")

    made = set_up(setup_for(shop, tmp_path, "shop.*"))

    check = found(made.file)["column types"]
    assert (check.state, "shop.prices.at" in check.what) == (State.OK, True)


def test_init_by_a_role_that_may_not_publish_says_the_statement_for_one_who_may(
    shop: Database, reader: str, tmp_path: Path
) -> None:
    shop.execute(f"ALTER ROLE reader_{shop.name} REPLICATION")

    with pytest.raises(PrivilegeMissing) as raised:
        set_up(setup_for(shop, tmp_path, "shop.orders", dsn=reader))

    assert f'CREATE PUBLICATION "rireki_{shop.name}" FOR TABLE "shop"."orders"' in raised.value.fix
    assert not list(tmp_path.iterdir())


def test_a_pattern_knows_two_wildcards_and_takes_everything_else_literally(shop: Database) -> None:
    shop.execute('CREATE TABLE shop."a[b].c" (id bigint)', 'CREATE TABLE shop."ab.c" (id bigint)')

    with shop.connect() as connection:
        names = {pattern: len(matching_tables(connection, pattern)) for pattern in ("*.a[b].c", "shop.?rders", "*.*")}

    assert names == {"*.a[b].c": 1, "shop.?rders": 1, "*.*": 5}


def test_a_partitioned_table_is_published_by_its_root(shop: Database, tmp_path: Path) -> None:
    set_up(setup_for(shop, tmp_path, "shop.visits"))

    with shop.connect() as connection:
        assert published_tables(connection, f"rireki_{shop.name}") == (TableName("shop", "visits"),)


def test_partitions_published_one_by_one_are_pointed_at(shop: Database, tmp_path: Path) -> None:
    shop.execute(f"CREATE PUBLICATION rireki_{shop.name} FOR TABLE shop.visits")

    made = set_up(setup_for(shop, tmp_path))

    check = found(made.file)["publication"]
    assert check.state is State.WARNING
    assert "publish_via_partition_root = true" in check.fix


def test_each_missing_right_is_found_with_its_grant(shop: Database, reader: str, tmp_path: Path) -> None:
    file = set_up(setup_for(shop, tmp_path, "shop.*")).file
    (tmp_path / "rireki.password").write_text("pw")
    file.write_text(file.read_text().replace("postgres", f"reader_{shop.name}", 1))

    without = found(file)
    shop.execute(
        f"ALTER ROLE reader_{shop.name} REPLICATION",
        f"GRANT USAGE ON SCHEMA shop TO reader_{shop.name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA shop TO reader_{shop.name}",
    )
    granted = found(file)

    assert without["replication"].fix.startswith(f'ALTER ROLE "reader_{shop.name}" REPLICATION')
    assert 'GRANT SELECT ON "shop"."orders"' in without["table shop.orders"].fix
    assert {check.state for check in granted.values()} == {State.OK}


def test_row_security_that_would_hide_rows_from_the_copy_is_found(shop: Database, reader: str, tmp_path: Path) -> None:
    file = set_up(setup_for(shop, tmp_path, "shop.*")).file
    (tmp_path / "rireki.password").write_text("pw")
    file.write_text(file.read_text().replace("postgres", f"reader_{shop.name}", 1))
    shop.execute(
        f"ALTER ROLE reader_{shop.name} REPLICATION",
        f"GRANT USAGE ON SCHEMA shop TO reader_{shop.name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA shop TO reader_{shop.name}",
        "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY",
    )

    hidden = found(file)["table shop.orders"]
    shop.execute(f"ALTER ROLE reader_{shop.name} BYPASSRLS")
    bypassed = found(file)["table shop.orders"]

    assert (hidden.state, bypassed.state) == (State.FAILED, State.OK)
    assert "BYPASSRLS" in hidden.fix


@pytest.mark.parametrize(
    ("identity", "state", "word"),
    [
        ("NOTHING", State.WARNING, "no replica identity"),
        ("DEFAULT", State.WARNING, "no replica identity"),
        ("FULL", State.OK, "slower"),
    ],
)
def test_a_table_without_a_key(shop: Database, tmp_path: Path, identity: str, state: State, word: str) -> None:
    shop.execute("CREATE TABLE shop.notes (body text)", f"ALTER TABLE shop.notes REPLICA IDENTITY {identity}")

    check = found(set_up(setup_for(shop, tmp_path, "shop.notes")).file)["table shop.notes"]

    assert check.state is state
    assert word in check.what


def test_a_slot_of_somebody_else_is_not_taken_for_ours(shop: Database, tmp_path: Path) -> None:
    file = set_up(setup_for(shop, tmp_path, "shop.*")).file
    slot = f"rireki_{shop.name}"
    shop.execute(f"SELECT pg_create_physical_replication_slot('{slot}')")

    check = found(file)["slot"]
    shop.execute(f"SELECT pg_drop_replication_slot('{slot}')")

    assert check.state is State.FAILED
    assert "stream.slot" in check.fix


def test_an_idle_slot_of_ours_is_fine(shop: Database, tmp_path: Path) -> None:
    file = set_up(setup_for(shop, tmp_path, "shop.*")).file
    shop.execute(f"SELECT pg_create_logical_replication_slot('rireki_{shop.name}', 'pgoutput')")

    assert found(file)["slot"] == Check("slot", State.OK, f"rireki_{shop.name}, idle")


def test_a_database_whose_encoding_nobody_knows_is_refused(shop: Database, tmp_path: Path) -> None:
    file = set_up(setup_for(shop, tmp_path, "shop.*")).file
    name = f"{shop.name}_ascii"
    shop.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    file.write_text(
        file.read_text().replace(f"dbname={shop.name}", f"dbname={name}").replace(f"/{shop.name}", f"/{name}")
    )

    check = found(file)["encoding"]
    shop.execute(f"DROP DATABASE {name}")

    assert check.state is State.FAILED
    assert "SQL_ASCII" in check.what and "UTF8" in check.fix


def test_nothing_is_asked_of_an_absent_server_but_the_lake_still_is(shop: Database, tmp_path: Path) -> None:
    file = set_up(setup_for(shop, tmp_path, "shop.*")).file
    file.write_text(
        file.read_text().replace(f"port={shop.server.port}", "port=1").replace(f":{shop.server.port}", ":1")
    )

    states = {name: check.state for name, check in found(file).items()}

    assert states["source"] is State.FAILED
    assert states["wal_level"] is states["slot"] is State.SKIPPED
    assert states["lake"] is State.OK
