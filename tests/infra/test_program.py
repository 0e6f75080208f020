"""A supervised child: readiness, its log, and that it is gone when it should be."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.errors import ProgramFailed
from infra.ports import free_port
from infra.processes import ProcessIdentity
from infra.program import Program, http, tcp
from infra.state import StateFolder
from tests.infra.other_process import OtherProcess
from tests.infra.waiting import eventually

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    with StateFolder(tmp_path / "a state folder") as folder:
        yield folder


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def has_logged(folder: StateFolder, name: str, text: str) -> bool:
    return text in folder.log(name).read_text()


def test_start_returns_once_the_program_answers(folder: StateFolder) -> None:
    port = free_port()
    server = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]

    with Program.start(folder, "web", server, ready=http(f"http://127.0.0.1:{port}/")) as program:
        assert tcp(port)()
        assert program.running()

    assert not tcp(port)()
    assert not program.running()


def test_program_that_ends_before_it_is_ready_fails_with_its_own_last_words(folder: StateFolder) -> None:
    with pytest.raises(ProgramFailed, match="exit code 3") as failure:
        Program.start(folder, "short", python("print('no such file: x'); raise SystemExit(3)"), ready=lambda: False)

    assert "no such file: x" in str(failure.value)
    assert str(failure.value).startswith("short:")


def test_failure_shows_no_words_of_an_earlier_run(folder: StateFolder) -> None:
    Program.start(folder, "twice", python("print('first')")).wait(20)

    with pytest.raises(ProgramFailed) as failure:
        Program.start(folder, "twice", python("print('second')"), ready=lambda: False)

    assert "second" in str(failure.value)
    assert "first" not in str(failure.value)


def test_program_that_is_not_ready_in_time_fails_and_is_stopped(folder: StateFolder) -> None:
    with pytest.raises(ProgramFailed, match="not ready after 0 s"):
        Program.start(folder, "slow", ["sleep", "600"], ready=lambda: False, ready_within_s=0.1)

    assert not list((folder.path / "running").iterdir())


def test_command_that_does_not_exist_is_named(folder: StateFolder) -> None:
    with pytest.raises(ProgramFailed, match=r"/no/such/program can't be executed: No such file"):
        Program.start(folder, "ghost", ["/no/such/program"])


def test_stop_lets_the_program_finish(folder: StateFolder) -> None:
    tidy = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('tidied up') or 7))
print('up', flush=True)
time.sleep(600)
"""
    program = Program.start(folder, "tidy", python(tidy), ready=lambda: has_logged(folder, "tidy", "up"))

    program.stop()
    program.stop()

    assert has_logged(folder, "tidy", "tidied up")
    assert program.wait(0) == 7


def test_program_that_ignores_the_signal_is_killed(folder: StateFolder) -> None:
    program = Program.start(
        folder, "deaf", python(DEAF), ready=lambda: has_logged(folder, "deaf", "deaf"), stop_within_s=0.2
    )

    program.stop()

    assert program.wait(0) == 128 + signal.SIGKILL
    assert ProcessIdentity.of(program.pid) is None


def test_stop_reaches_what_the_program_started_itself(folder: StateFolder) -> None:
    program = Program.start(folder, "family", ["/bin/sh", "-c", 'sleep 600 & echo "pid $!"; wait'])
    assert eventually(lambda: has_logged(folder, "family", "pid "))
    grandchild = ProcessIdentity.of(int(folder.log("family").read_text().split()[1]))
    assert grandchild is not None

    program.stop()

    assert eventually(lambda: not grandchild.alive())


def test_check_tells_of_a_program_that_died(folder: StateFolder) -> None:
    program = Program.start(folder, "brief", python("print('out of luck'); raise SystemExit(4)"))
    program.wait(20)

    with pytest.raises(ProgramFailed, match="exit code 4"):
        program.check()


def test_program_of_a_killed_process_is_stopped(tmp_path: Path) -> None:
    start_and_tell = """
        from infra.program import Program
        sleeper = Program.start(folder, "sleeper", ["sleep", "600"])
        report(sleeper.pid)
    """
    with OtherProcess(tmp_path, start_and_tell) as other:
        child = ProcessIdentity.of(int(other.reported))
        assert child is not None and child.alive()
        other.kill()

    assert eventually(lambda: not child.alive())


def test_deaf_program_of_a_killed_process_is_killed(tmp_path: Path) -> None:
    start_and_tell = f"""
        from infra.program import Program
        ready = lambda: "deaf" in folder.log("deaf").read_text()
        deaf = Program.start(folder, "deaf", [sys.executable, "-c", {DEAF!r}], ready=ready, stop_within_s=0.2)
        report(deaf.pid)
    """
    with OtherProcess(tmp_path, start_and_tell) as other:
        child = ProcessIdentity.of(int(other.reported))
        assert child is not None and child.alive()
        other.kill()

    assert eventually(lambda: not child.alive())


def test_terminals_interrupt_does_not_reach_the_program(folder: StateFolder) -> None:
    program = Program.start(folder, "sleeper", ["sleep", "600"])

    assert os.getsid(program.pid) not in (os.getsid(0), os.getsid(program._leash.pid))
    assert os.getsid(program._leash.pid) != os.getsid(0)
    program.stop()


def test_large_log_is_set_aside(folder: StateFolder) -> None:
    folder.log("chatty").write_bytes(b"x" * 10_000_001)

    Program.start(folder, "chatty", ["echo", "anew"]).wait(20)

    assert folder.log("chatty").read_text() == "anew\n"
    assert folder.log("chatty").with_suffix(".log.1").stat().st_size == 10_000_001


def test_nothing_starts_in_a_folder_that_is_not_locked(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unlocked"):
        Program.start(StateFolder(tmp_path), "sleeper", ["sleep", "600"])
