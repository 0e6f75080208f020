"""The state folder: locked against a second start, healed after a crash, safe to delete."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.account import Account
from infra.errors import PortTaken, StackAlreadyRunning, StateFolderUnusable
from infra.ports import LOOPBACK
from infra.processes import ProcessIdentity
from infra.state import StateFolder
from tests.infra.other_process import OtherProcess
from tests.infra.waiting import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root takes on another account")


def test_second_start_is_refused_and_names_the_first_ones_pid(tmp_path: Path) -> None:
    with OtherProcess(tmp_path, "report('locked')") as other:
        with pytest.raises(StackAlreadyRunning, match=f"process {other.pid}") as refusal:
            StateFolder(tmp_path).acquire()

        assert str(tmp_path) in str(refusal.value)
        assert refusal.value.fix


def test_second_start_is_refused_inside_one_process_too(tmp_path: Path) -> None:
    with StateFolder(tmp_path), pytest.raises(StackAlreadyRunning):
        StateFolder(tmp_path).acquire()

    StateFolder(tmp_path).acquire()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with OtherProcess(tmp_path, "report('locked')") as other:
        other.kill()

    with StateFolder(tmp_path) as folder:
        assert folder.locked


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StateFolderUnusable, match="file/state"):
        StateFolder(tmp_path / "file" / "state").acquire()


def test_port_is_kept_for_the_next_start(tmp_path: Path) -> None:
    first = StateFolder(tmp_path).port("postgres")

    assert StateFolder(tmp_path).port("postgres") == first
    assert StateFolder(tmp_path).port("s3") != first


def test_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    first = StateFolder(tmp_path).port("postgres")

    with socket.create_server((LOOPBACK, first)):
        second = StateFolder(tmp_path).port("postgres")

    assert second != first
    assert StateFolder(tmp_path).port("postgres") == second


def test_wanted_port_that_is_taken_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    kept = StateFolder(tmp_path).port("postgres")

    with socket.create_server((LOOPBACK, 0)) as stranger:
        taken = stranger.getsockname()[1]
        with pytest.raises(PortTaken, match=str(taken)):
            StateFolder(tmp_path).port("postgres", taken)

    assert StateFolder(tmp_path).port("postgres") == kept


def test_secret_is_generated_once_and_readable_for_nobody_else(tmp_path: Path) -> None:
    secret = StateFolder(tmp_path).secret("superuser")

    assert StateFolder(tmp_path).secret("superuser") == secret
    assert StateFolder(tmp_path / "other").secret("superuser") != secret
    assert stat.S_IMODE((tmp_path / "secrets" / "superuser").stat().st_mode) == 0o600


def test_torn_ports_file_heals_itself(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"postg')

    port = StateFolder(tmp_path).port("postgres")

    assert StateFolder(tmp_path).port("postgres") == port


def test_child_whose_stack_and_leash_were_both_killed_is_stopped_by_the_next_start(tmp_path: Path) -> None:
    start_and_tell = """
        from infra.program import Program
        child = Program.start(folder, "sleeper", ["sleep", "600"])
        report(f"{child.pid} {child._leash.pid}")
    """
    with OtherProcess(tmp_path, start_and_tell) as stack:
        child, leash = map(int, stack.reported.split())
        os.kill(leash, signal.SIGKILL)
        stack.kill()
    orphan = ProcessIdentity.of(child)
    assert orphan is not None and orphan.alive()

    with StateFolder(tmp_path):
        assert eventually(lambda: not orphan.alive())


def test_stranger_with_a_dead_childs_pid_is_left_alone(tmp_path: Path) -> None:
    with OtherProcess(tmp_path / "other", "report('alive')") as stranger:
        folder = StateFolder(tmp_path)
        folder.remember_running("dead", ProcessIdentity(stranger.pid, "another moment"), signal.SIGKILL)

        folder.acquire()

        assert ProcessIdentity.of(stranger.pid) is not None


def test_destroy_is_refused_while_a_stack_uses_the_folder(tmp_path: Path) -> None:
    with OtherProcess(tmp_path, "report('locked')"):
        with pytest.raises(StackAlreadyRunning):
            StateFolder(tmp_path).destroy()

        assert (tmp_path / "lock").exists()


def test_destroy_leaves_nothing(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.port("postgres")

    folder.destroy()

    assert not folder.path.exists()


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A state folder's path that only its owner can enter, as under /root."""
    tmp_path.chmod(0o700)
    return tmp_path / "state"


@pytest.fixture
def nobody() -> Iterator[Account]:
    account = Account.unprivileged()
    assert account is not None
    yield account


@as_root
def test_place_that_the_account_can_enter_lies_in_the_folder(folder_for_all: Path, nobody: Account) -> None:
    with StateFolder(folder_for_all / "state") as folder:
        place = folder.place("postgres", nobody)

        assert place == folder.path / "postgres"
        assert nobody.reaches(place)
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o710


@as_root
def test_place_for_an_account_that_cannot_enter_lies_elsewhere_and_goes_with_the_folder(
    closed: Path, nobody: Account
) -> None:
    with StateFolder(closed) as folder:
        place = folder.place("postgres", nobody)

        assert nobody.reaches(place)
        assert not place.is_relative_to(closed)
        assert folder.place("postgres", nobody) == place

        folder.destroy()

    assert not place.exists()
    assert stat.S_IMODE(closed.parent.stat().st_mode) == 0o700


@as_root
def test_place_elsewhere_of_a_folder_deleted_by_hand_is_swept_at_the_next_start(closed: Path, nobody: Account) -> None:
    with StateFolder(closed) as folder:
        left = folder.place("postgres", nobody)
    shutil.rmtree(closed)

    with StateFolder(closed) as folder:
        place = folder.place("postgres", nobody)

        assert place != left
        assert not left.exists()
        folder.destroy()
