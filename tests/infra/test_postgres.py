"""The embedded PostgreSQL: fit for logical decoding, closed to strangers, and back after every kind of end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.account import Account
from infra.binaries import Binaries
from infra.errors import BinariesMissing, ClusterVersionDiffers, PortTaken
from infra.ports import LOOPBACK
from infra.postgres import Postgres
from infra.processes import ProcessIdentity
from infra.program import Program
from infra.state import StateFolder
from tests.conftest import Database
from tests.infra.other_process import OtherProcess
from tests.infra.waiting import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root takes on another account")

START_AND_TELL = """
    from infra.postgres import Postgres
    server = Postgres.start(folder, durable=False)
    with server.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    report(f"{server.program.pid} {server.program._leash.pid}")
"""


@pytest.fixture
def stack_path(folder_for_all: Path) -> Path:
    return folder_for_all / "a clone's 履歴" / ".rireki"


@pytest.fixture
def folder(stack_path: Path) -> Iterator[StateFolder]:
    with StateFolder(stack_path) as folder:
        yield folder


def kept_answer(server: Postgres) -> object:
    with server.connect() as connection:
        return connection.execute("SELECT answer FROM kept").fetchone()


def test_server_is_fit_for_logical_decoding(database: Database) -> None:
    with psycopg.connect(database.dsn, replication="database", autocommit=True) as connection:  # type: ignore[call-overload]
        slot = connection.execute("CREATE_REPLICATION_SLOT fit TEMPORARY LOGICAL pgoutput").fetchone()

    assert slot is not None and slot[0] == "fit"


def test_cluster_is_the_same_on_every_machine(database: Database) -> None:
    settings = database.rows(
        "SELECT current_setting('server_encoding'), current_setting('data_checksums'), current_setting('TimeZone'),"
        " datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
    )

    assert settings == [("UTF8", "on", "UTC", "b", "C.UTF-8")]


def test_no_role_enters_without_its_password(postgres: Postgres) -> None:
    for attempt in (postgres.dsn(password="wrong"), postgres.dsn(user="stranger", password="")):
        with pytest.raises(psycopg.OperationalError, match=r"password authentication failed|no password supplied"):
            psycopg.connect(attempt)

    assert postgres.password not in repr(postgres)


def test_server_listens_on_the_loopback_only(postgres: Postgres) -> None:
    listeners = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port = f"{postgres.port:04X}"

    addresses = {local.split(":")[0] for _, local, _, state, *_ in listeners if local.endswith(port) and state == "0A"}

    assert addresses == {"0100007F"}
    with postgres.connect() as connection:
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)


def test_server_does_not_run_as_root(postgres: Postgres) -> None:
    owner = Path(f"/proc/{postgres.program.pid}").stat().st_uid

    assert owner != 0
    assert owner == os.geteuid() or os.geteuid() == 0


@as_root
def test_roots_environment_stays_with_root(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "roots-own")

    with Postgres.start(folder, durable=False) as server:
        given = Path(f"/proc/{server.program.pid}/environ").read_text()

    assert "PATH=" in given
    assert "roots-own" not in given


def test_restart_continues_where_it_stopped(folder: StateFolder) -> None:
    with Postgres.start(folder) as first, first.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    with Postgres.start(folder) as second:
        assert kept_answer(second) == (42,)
        assert second.dsn() == first.dsn()
    assert "not properly shut down" not in folder.log("postgres").read_text()


def test_stop_does_not_wait_for_clients(folder: StateFolder) -> None:
    server = Postgres.start(folder, durable=False)
    with server.connect(autocommit=False) as client:
        client.execute("SELECT 1")

        server.stop()

        assert server.program.wait(0) == 0
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        client.close()


def test_server_of_a_killed_process_is_stopped_and_starts_again_with_all_commits(stack_path: Path) -> None:
    with OtherProcess(stack_path, START_AND_TELL) as stack:
        postmaster = ProcessIdentity.of(int(stack.reported.split()[0]))
        assert postmaster is not None
        stack.kill()
    assert eventually(lambda: not postmaster.alive())

    with StateFolder(stack_path) as folder, Postgres.start(folder, durable=False) as server:
        assert kept_answer(server) == (42,)


def test_server_that_outlived_its_stack_is_stopped_first(stack_path: Path) -> None:
    with OtherProcess(stack_path, START_AND_TELL) as stack:
        pid, leash = map(int, stack.reported.split())
        os.kill(leash, signal.SIGKILL)
        stack.kill()
    orphan = ProcessIdentity.of(pid)
    assert orphan is not None
    shutil.rmtree(stack_path / "running")  # so that only PostgreSQL's own note tells of it

    with StateFolder(stack_path) as folder, Postgres.start(folder, durable=False) as server:
        assert not orphan.alive()
        assert kept_answer(server) == (42,)


def test_server_that_was_killed_recovers(folder: StateFolder) -> None:
    server = Postgres.start(folder, durable=False)
    with server.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(server.program.pid, signal.SIGKILL)
    server.stop()

    with Postgres.start(folder, durable=False) as again:
        assert kept_answer(again) == (42,)


def test_stale_note_whose_pid_belongs_to_a_stranger_now_does_not_block_the_start(folder: StateFolder) -> None:
    server = Postgres.start(folder, durable=False)
    note = folder.path / "postgres" / "cluster" / "postmaster.pid"
    _, rest = note.read_text().split("\n", 1)
    os.kill(server.program.pid, signal.SIGKILL)
    server.stop()
    # As PostgreSQL sees it, a process of its own account.
    with Program.start(folder, "stranger", ["sleep", "600"], account=Account.unprivileged()) as stranger:
        note.write_text(f"{stranger.pid}\n{rest}")

        with Postgres.start(folder, durable=False) as again:
            assert again.program.running()
            assert stranger.running()


def test_cluster_half_made_when_the_machine_went_down_is_made_anew(folder: StateFolder) -> None:
    half_made = folder.path / "postgres" / "cluster.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")

    with Postgres.start(folder, durable=False) as server:
        assert server.program.running()
    assert not half_made.exists()


def test_other_version_starts_too_and_is_not_mixed_up(folder: StateFolder) -> None:
    with Postgres.start(folder, version=16, durable=False) as server, server.connect() as connection:
        assert connection.info.server_version // 10_000 == 16

    with pytest.raises(ClusterVersionDiffers, match="made by PostgreSQL 16"):
        Postgres.start(folder, version=18)


def test_version_that_the_wheel_lacks_is_named_with_those_it_has(folder: StateFolder) -> None:
    with pytest.raises(BinariesMissing, match="PostgreSQL 9") as missing:
        Postgres.start(folder, version=9)

    assert "18, 16" in missing.value.fix


def test_taken_port_is_an_error_before_anything_starts(folder: StateFolder) -> None:
    with socket.create_server((LOOPBACK, 0)) as stranger:
        taken = stranger.getsockname()[1]
        with pytest.raises(PortTaken, match=str(taken)):
            Postgres.start(folder, port=taken, durable=False)

    assert not folder.log("postgres").exists()


def test_database_is_dropped_with_its_slots_and_clients(postgres: Postgres) -> None:
    postgres.create_database("doomed")
    with postgres.connect("doomed") as client:
        client.execute("SELECT pg_create_logical_replication_slot('doomed_slot', 'pgoutput')")

        postgres.drop_database("doomed")

        assert not postgres.has_database("doomed")
        client.close()
    with postgres.connect() as connection:
        slots = connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'doomed_slot'").fetchall()
    assert slots == []


@as_root
def test_root_starts_it_where_the_unprivileged_account_reaches_neither_folder_nor_binaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = Binaries.find().root.parent
    tmp_path.chmod(0o700)  # as /root is
    site = tmp_path / "site-packages"
    for part in (installed.name, f"{installed.name}.libs"):
        shutil.copytree(installed.parent / part, site / part, symlinks=True)
    monkeypatch.syspath_prepend(str(site))
    assert Binaries.find().root.is_relative_to(site)

    with StateFolder(tmp_path / ".rireki") as folder:
        with Postgres.start(folder, durable=False) as server, server.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert not server.binaries.root.is_relative_to(tmp_path)
        place = server.binaries.root.parents[2]
        folder.destroy()

    assert not place.exists()
