"""Migrations: once each, in order, never rewritten, and nothing left without row security."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from infra.postgres import Postgres
from infra.state import StateFolder
from services.migrate.__main__ import main
from services.migrate.apply import migrate
from services.migrate.files import FOLDERS, Folder, MigrationRefused
from tests.conftest import Database
from tests.services.conftest import PASSWORD, PASSWORDS

TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'directory'"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Folder, ...]:
    """A copy of the SQL files, to be tampered with."""
    copies = []
    for folder in FOLDERS:
        shutil.copytree(folder.path, tmp_path / folder.schema, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        copies.append(replace(folder, path=tmp_path / folder.schema))
    return tuple(copies)


def _directory(folders: tuple[Folder, ...]) -> Folder:
    return next(folder for folder in folders if folder.schema == "directory")


def _add(folders: tuple[Folder, ...], name: str, text: str) -> Path:
    path = _directory(folders).path / "migrations" / name
    path.write_text(text, "utf-8")
    return path


def test_run_again_it_changes_nothing(database: Database) -> None:
    first = migrate(database.dsn, PASSWORDS)
    again = migrate(database.dsn, {})

    assert first.already_applied == 0
    assert again.applied == []
    assert again.already_applied == len(first.applied) == len(list(Path("services").glob("*/migrations/*.sql")))


def test_a_file_that_was_edited_after_it_was_applied_is_refused(
    database: Database, folders: tuple[Folder, ...]
) -> None:
    migrate(database.dsn, PASSWORDS, folders)
    edited = _directory(folders).path / "migrations" / "0004_users.sql"
    edited.write_text(edited.read_text("utf-8") + "\n-- a harmless remark\n", "utf-8")

    with pytest.raises(
        MigrationRefused, match=r"directory/0004_users\.sql: was changed after it was applied"
    ) as refused:
        migrate(database.dsn, {}, folders)

    assert "a new file" in refused.value.fix


def test_a_checkout_with_other_line_ends_is_the_same_file(database: Database, folders: tuple[Folder, ...]) -> None:
    migrate(database.dsn, PASSWORDS, folders)
    for path in _directory(folders).path.glob("migrations/*.sql"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert migrate(database.dsn, {}, folders).applied == []


def test_a_file_that_was_applied_and_is_gone_is_refused(database: Database, folders: tuple[Folder, ...]) -> None:
    migrate(database.dsn, PASSWORDS, folders)
    (_directory(folders).path / "migrations" / "0012_grants.sql").unlink()

    with pytest.raises(MigrationRefused, match="is gone"):
        migrate(database.dsn, {}, folders)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("0004_again.sql", "has the number of"),
        ("13_short.sql", "not a migration's name"),
        ("0913-dashes.sql", "not a migration's name"),
    ],
)
def test_a_file_whose_number_does_not_fit_is_refused(
    name: str, what: str, database: Database, folders: tuple[Folder, ...]
) -> None:
    _add(folders, name, "SELECT 1;")

    with pytest.raises(MigrationRefused, match=what):
        migrate(database.dsn, PASSWORDS, folders)


def test_a_file_that_comes_before_what_is_applied_is_refused(database: Database, folders: tuple[Folder, ...]) -> None:
    late = _add(folders, "0914_late.sql", "SELECT 1;")
    migrate(database.dsn, PASSWORDS, folders)
    _add(folders, "0913_later_still.sql", "SELECT 1;")

    with pytest.raises(MigrationRefused, match="comes before 0914"):
        migrate(database.dsn, {}, folders)

    assert late.exists()


def test_a_file_that_fails_leaves_nothing_and_those_before_it_stay(
    database: Database, folders: tuple[Folder, ...]
) -> None:
    broken = _add(folders, "0913_broken.sql", "CREATE TABLE directory.half (x int); SELECT 1 / 0;")

    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(database.dsn, PASSWORDS, folders)

    before = len(list(broken.parent.glob("*.sql"))) - 1
    assert database.rows("SELECT to_regclass('directory.half'), count(*) FROM directory.migrations") == [(None, before)]
    broken.unlink()
    assert [name for name in migrate(database.dsn, {}, folders).applied if name.startswith("directory/")] == []


@pytest.mark.parametrize(
    ("statement", "lacks"),
    [
        ("CREATE TABLE directory.new (id uuid PRIMARY KEY)", "a column tenant_id uuid NOT NULL"),
        ("CREATE TABLE directory.new (tenant_id text NOT NULL)", "a column tenant_id uuid NOT NULL"),
        ("CREATE TABLE directory.new (tenant_id uuid PRIMARY KEY)", "ENABLE ROW LEVEL SECURITY"),
        ("CREATE TABLE directory.new (tenant_id uuid PRIMARY KEY)", "FORCE ROW LEVEL SECURITY"),
        ("CREATE TABLE directory.new (tenant_id uuid PRIMARY KEY)", "a policy by rls.tenant"),
        ("CREATE TABLE directory.new (id uuid PRIMARY KEY, tenant_id uuid NOT NULL)", "an index that starts with"),
        ("CREATE POLICY open ON directory.users USING (true)", "a tenant in every permissive policy"),
        ("CREATE VIEW directory.new AS SELECT * FROM directory.users", "security_invoker = true"),
        ("CREATE MATERIALIZED VIEW directory.new AS SELECT * FROM directory.users", "a materialised view has none"),
    ],
)
def test_a_relation_without_its_protection_is_refused(
    statement: str, lacks: str, database: Database, folders: tuple[Folder, ...]
) -> None:
    _add(folders, "0913_new.sql", f"{statement};")

    with pytest.raises(MigrationRefused, match=lacks):
        migrate(database.dsn, PASSWORDS, folders)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE directory.new (id int); COMMENT ON TABLE directory.new IS 'rls:exempt the same for all tenants'",
        "CREATE VIEW directory.new WITH (security_invoker = true) AS SELECT * FROM directory.users",
    ],
)
def test_a_relation_that_says_why_it_needs_no_protection_is_accepted(
    statement: str, database: Database, folders: tuple[Folder, ...]
) -> None:
    _add(folders, "0913_new.sql", f"{statement};")

    assert "directory/0913_new.sql" in migrate(database.dsn, PASSWORDS, folders).applied


def test_two_at_once_apply_each_file_once(database: Database) -> None:
    together = threading.Barrier(2)

    def run(_: int) -> int:
        together.wait(10)
        return len(migrate(database.dsn, PASSWORDS).applied)

    with ThreadPoolExecutor(2) as pool:
        applied = sorted(pool.map(run, range(2)))

    assert applied == [0, len(list(Path("services").glob("*/migrations/*.sql")))]


@pytest.fixture
def probe(database: Database, tmp_path: Path) -> Iterator[Folder]:
    """A service of whose role this server hasn't heard yet."""
    role = f"probe_{uuid.uuid4().hex[:8]}"
    (tmp_path / "probe" / "migrations").mkdir(parents=True)
    (tmp_path / "probe" / "roles.sql").write_text(f"DO $$ BEGIN CREATE ROLE {role} LOGIN; END $$;")
    yield Folder(tmp_path / "probe", "probe", login_role=role)
    with database.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def test_a_new_role_without_a_password_is_refused_before_anything_is_done(probe: Folder, database: Database) -> None:
    with pytest.raises(MigrationRefused, match="has no password") as refused:
        migrate(database.dsn, PASSWORDS, (*FOLDERS, probe))

    assert f"{str(probe.login_role).upper()}_PASSWORD" in refused.value.fix
    assert database.rows(f"SELECT 1 FROM pg_roles WHERE rolname = '{probe.login_role}'") == []
    assert database.rows(TABLES) == [(0,)]


def test_a_new_role_logs_in_with_its_password_which_the_server_never_saw(probe: Folder, database: Database) -> None:
    role = str(probe.login_role)

    outcome = migrate(database.dsn, {**PASSWORDS, role: "gehe'im"}, (*FOLDERS, probe))

    assert outcome.roles_created == [role]
    with psycopg.connect(database.server.dsn(database.name, user=role, password="gehe'im")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (role,)
    ((verifier,),) = database.rows(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'")
    assert verifier.startswith("SCRAM-SHA-256$")


def test_an_administrator_who_is_no_superuser_can_migrate_an_older_server() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rireki-tests-"))
    with StateFolder(folder) as state, Postgres.start(state, version=16, durable=False) as server:
        with server.connect() as connection:
            connection.execute("CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'x'")
        server.create_database("platform", owner="dba")
        dsn = server.dsn("platform", user="dba", password="x")

        first = migrate(dsn, PASSWORDS)
        again = migrate(dsn, PASSWORDS)

        assert (len(first.applied), again.applied) == (again.already_applied, [])
        with server.connect("platform") as connection:
            owners = connection.execute(
                "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname IN ('directory', 'rls')"
            ).fetchall()
        assert owners == [("platform_owner",)]
    shutil.rmtree(folder, ignore_errors=True)


def test_the_command_line_tells_what_it_did(
    database: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    monkeypatch.delenv("DIRECTORY_PASSWORD", raising=False)
    monkeypatch.setenv("ASSET_PASSWORD", PASSWORD)
    monkeypatch.setenv("AUTH_PASSWORD", PASSWORD)

    code = main(["--dsn", database.dsn, "--password-file", f"directory={tmp_path / 'password'}", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert told["passwords_set"] == ["asset", "auth", "directory"]
    assert told["applied"][0] == "rls/0001_tenant_context.sql"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--dsn", "postgresql://nobody@127.0.0.1:1/none"],
        ["--dsn", "x", "--password-file", "directory"],
        ["--dsn", "x", "--password-file", "directory=/nowhere/password"],
    ],
)
def test_the_command_line_ends_with_2_and_a_fix(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLATFORM_DSN", raising=False)

    code = main(arguments)

    assert code == 2
    assert "fix:" in capsys.readouterr().err
