"""Whatever a person gets wrong: one screen that names the object and the next command, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from infra.postgres import Postgres
from infra.state import StateFolder
from pipelines.cli import run
from pipelines.setup import render
from tests.conftest import Bucket, Database
from tests.pipelines.forgetful_store import forgetful_store

LINES_OF_A_SCREEN = 24


class Refusals:
    """Runs a command that must be refused, twice: for people and for programs."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    def __call__(self, *arguments: str) -> dict[str, str]:
        """The error as programs get it, after holding what people get to the rules."""
        before = self._files()
        self._capsys.readouterr()

        code = run(arguments)
        shown = self._capsys.readouterr()
        code_again = run([*arguments, "--json"])
        told = self._capsys.readouterr()

        assert (code, code_again) == (2, 2)
        assert "next: " in shown.out + shown.err
        assert len((shown.out + shown.err).splitlines()) <= LINES_OF_A_SCREEN
        assert "Traceback" not in shown.err
        assert self._files() == before
        error: dict[str, str] = json.loads(told.out.splitlines()[-1])["error"]
        assert error["subject"] in shown.out + shown.err
        assert error["next"]
        return error

    def _files(self) -> set[Path]:
        return set(self._folder.rglob("*"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refusals:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("AWS_", "RIREKI_")):
            monkeypatch.delenv(name)
    return Refusals(capsys, tmp_path)


@pytest.fixture
def shop(database: Database) -> Database:
    database.execute(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id bigint PRIMARY KEY, total numeric(12, 2))",
        "CREATE TABLE shop.secrets (id bigint PRIMARY KEY)",
        "INSERT INTO shop.orders VALUES (1, 10.50)",
        f"CREATE PUBLICATION {database.name} FOR TABLE shop.orders",
    )
    return database


def configured(folder: Path, database: Database, **sections: dict[str, Any]) -> None:
    """Write ./rireki.toml for the database, unless told otherwise."""
    settings: dict[str, dict[str, Any]] = {
        "source": {"dsn": database.dsn},
        "stream": {"name": database.name},
        "lake": {"url": "lake"},
    }
    (folder / "rireki.toml").write_text(render({**settings, **sections}))


def init(database: Database, *, dsn: str | None = None, lake: str = "lake", more: tuple[str, ...] = ()) -> list[str]:
    return ["init", "--source", dsn or database.dsn, "--lake", lake, "--tables", "shop.orders", *more]


@pytest.mark.parametrize("command", [["capture"], ["drain"], ["status"], ["sql", "SELECT 1"], ["reconcile"]])
def test_no_config(refused: Refusals, command: list[str]) -> None:
    error = refused(*command)

    assert error["subject"] == "rireki.toml"
    assert error["next"].startswith("rireki init --source")


def test_a_wrong_value(refused: Refusals, shop: Database, tmp_path: Path) -> None:
    configured(tmp_path, shop, capture={"max_batch_rows": 0})

    error = refused("capture")

    assert error["subject"] == "rireki.toml"
    assert "capture.max_batch_rows: must be > 0, got 0" in error["what"]


@pytest.mark.parametrize("arguments", [["no-such-command"], ["sql"], ["drain", "--until", "soon"], ["resync"]])
def test_a_wrong_command_line(refused: Refusals, shop: Database, tmp_path: Path, arguments: list[str]) -> None:
    configured(tmp_path, shop)

    assert refused(*arguments)["kind"] == "CommandInvalid"


def test_postgresql_unreachable(refused: Refusals, shop: Database, tmp_path: Path) -> None:
    configured(tmp_path, shop, source={"dsn": "postgresql://someone:hunter2@127.0.0.1:1/platform"})

    error = refused("capture")

    assert error["kind"] == "SourceUnreachable"
    assert "127.0.0.1:1" in error["subject"]
    assert "hunter2" not in str(error)


def test_wal_level_not_logical(refused: Refusals) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rireki-tests-") as path,
        StateFolder(path) as folder,
        Postgres.start(folder, durable=False, settings={"wal_level": "replica", "max_wal_senders": "5"}) as server,
    ):
        with server.connect() as connection:
            connection.execute("CREATE SCHEMA shop; CREATE TABLE shop.orders (id bigint PRIMARY KEY)")

        error = refused(*init(Database(server, "postgres")))

        with server.connect() as connection:
            assert connection.execute("SELECT 1 FROM pg_publication").fetchone() is None
        folder.destroy()
    assert error["kind"] == "WalLevelNotLogical"
    assert "wal_level = 'logical'" in error["next"]


@pytest.fixture
def visitor(shop: Database) -> Iterator[str]:
    """A role that may log in, and nothing else."""
    role = sql.Identifier("visitor_" + shop.name)
    with shop.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'pw'").format(role))
        yield "visitor_" + shop.name
        connection.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role))


def test_no_right_to_replicate(refused: Refusals, shop: Database, visitor: str) -> None:
    error = refused(*init(shop, dsn=shop.server.dsn(shop.name, user=visitor, password="pw")))

    assert error["kind"] == "PrivilegeMissing"
    assert error["next"].startswith(f'ALTER ROLE "{visitor}" REPLICATION')


def test_no_right_to_read_a_table(refused: Refusals, shop: Database, visitor: str, tmp_path: Path) -> None:
    shop.execute(f"ALTER ROLE {visitor} REPLICATION")
    configured(tmp_path, shop, source={"dsn": shop.server.dsn(shop.name, user=visitor, password="pw")})

    error = refused("drain")

    assert error["subject"] == "table shop.orders"
    assert 'GRANT SELECT ON "shop"."orders"' in error["next"]
    assert shop.rows("SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []


def test_no_publication(refused: Refusals, shop: Database, tmp_path: Path) -> None:
    configured(tmp_path, shop, stream={"name": shop.name, "publication": "elsewhere"})

    error = refused("capture")

    assert error["subject"] == "publication elsewhere"


def test_a_bucket_that_is_not_there(
    refused: Refusals, shop: Database, s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.options["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.options["AWS_SECRET_ACCESS_KEY"])

    error = refused(*init(shop, lake="s3://nobodys-bucket/lake", more=("--endpoint", s3.endpoint)))

    assert error["kind"] == "BucketMissing"
    assert "nobodys-bucket" in error["subject"]


def test_a_store_that_ignores_conditional_put(
    refused: Refusals, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    with forgetful_store() as (endpoint, objects):
        error = refused(*init(shop, lake="s3://bucket/lake", more=("--endpoint", endpoint)))

        assert not objects
    assert error["kind"] == "ConditionalPutRefused"


def test_a_store_that_does_not_answer(refused: Refusals, shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    error = refused(*init(shop, lake="s3://bucket/lake", more=("--endpoint", "http://127.0.0.1:1")))

    assert error["kind"] == "LakeUnreachable"


def test_a_folder_that_can_not_be_written(refused: Refusals, shop: Database) -> None:
    error = refused(*init(shop, lake="/proc/lake"))

    assert error["kind"] == "LakeUnreachable"


def test_a_port_that_is_taken(refused: Refusals, tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state"):
        pass  # the folder is there, so that what a refused start may leave in it is seen
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        error = refused("up", "--no-ui", "--state", str(tmp_path / "state"), "--postgres-port", str(port))

    assert error["kind"] == "PortTaken"
    assert str(port) in error["subject"]


def test_a_second_stack_in_one_folder(refused: Refusals, tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state"):
        error = refused("up", "--state", str(tmp_path / "state"))

    assert error["kind"] == "StackAlreadyRunning"
    assert str(os.getpid()) in error["what"]


def test_an_empty_lake(refused: Refusals, shop: Database, tmp_path: Path) -> None:
    configured(tmp_path, shop)

    assert refused("sql", "SELECT * FROM shop.orders")["kind"] == "LakeEmpty"


@pytest.fixture
def drained(shop: Database, refused: Refusals, tmp_path: Path) -> Iterator[Database]:
    configured(tmp_path, shop)
    assert run(["drain", "--json"]) == 0
    yield shop


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        ("0/1", "BeforeFirstCut"),
        ("1999-12-31", "BeforeFirstCut"),
        ("7FFFFFFF/0", "BeyondLake"),
        ("2999-01-01", "BeyondLake"),
        ("the day before yesterday", "UnknownMoment"),
    ],
)
def test_a_moment_that_the_lake_does_not_hold(drained: Database, refused: Refusals, at: str, kind: str) -> None:
    assert refused("sql", "SELECT * FROM shop.orders", "--at", at)["kind"] == kind


def test_a_table_that_is_not_published(drained: Database, refused: Refusals) -> None:
    asked = refused("sql", "SELECT * FROM shop.secrets")
    traced = refused("trace", "shop.secrets", "1")
    compared = refused("reconcile", "shop.secrets")
    wished = refused("resync", "shop.secrets")

    assert asked["kind"] == traced["kind"] == "UnknownTable"
    assert compared["kind"] == wished["kind"] == "TableNotPublished"
    assert {e["subject"] for e in (asked, traced, compared, wished)} == {"shop.secrets"}


@pytest.mark.parametrize("query", ["SELEC 1", "DROP TABLE shop.orders", "SELECT * FROM read_csv('/etc/passwd')"])
def test_a_query_that_is_no_question(drained: Database, refused: Refusals, query: str) -> None:
    assert refused("sql", query)["kind"] == "QueryRefused"


def test_a_slot_in_use(drained: Database, refused: Refusals) -> None:
    drained.execute(f"ALTER DATABASE {drained.name} SET wal_sender_timeout = 0")  # the holder answers nothing
    with closing(drained.connect(replication="database")) as holder:
        holder.pgconn.exec_(
            f"START_REPLICATION SLOT {drained.name} LOGICAL 0/0 "
            f"(proto_version '1', publication_names '{drained.name}')".encode()
        )

        error = refused("drain")

    assert error["kind"] == "SlotInUse"
    assert drained.name in error["subject"]
