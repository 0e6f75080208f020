"""The embedded stack as one: what it is for, and what it survives."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc.slot import beat
from infra.state import StateFolder
from lakehouse.lake import Lake
from pipelines import platform
from pipelines.demo import Progress, live_through
from pipelines.stack import Stack
from pipelines.status import Verdict, status_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_S = 60.0


@pytest.fixture
def place(folder_for_all: Path) -> Iterator[Path]:
    yield folder_for_all / "state"
    StateFolder(folder_for_all / "state").destroy()


class Told:
    """What a stack says, to be waited for."""

    def __init__(self) -> None:
        self._said: queue.Queue[str] = queue.Queue()

    def __call__(self, sentence: str) -> None:
        self._said.put(sentence)

    def wait_for(self, matches: Callable[[str], bool]) -> str:
        while True:
            sentence = self._said.get(timeout=PATIENCE_S)
            if matches(sentence):
                return sentence


@pytest.mark.parametrize("s3", [False, True], ids=["files", "s3"])
def test_the_lake_tells_the_demos_story_as_it_happened(place: Path, s3: bool) -> None:
    progress = Progress()
    with StateFolder(place) as folder, Stack(folder, s3=s3, ui=False, tell=Told(), on_event=progress.see) as stack:
        story = live_through(stack, progress, tell=lambda _: None, show=lambda: None, changes=150)

    assert story.mismatches == 0
    assert len(story.moments) > 10
    assert all(moment.matches for moment in story.moments)
    assert story.rows_captured == story.rows_in_lake > 0
    assert sum(table["lake_rows"] for table in story.tables.values()) > 0
    assert 0 < story.delays["p50"] <= story.delays["p99"]
    assert story.trace[0].op == "insert"


def test_killed_children_come_back_and_nothing_is_lost(place: Path) -> None:
    told = Told()
    with StateFolder(place) as folder, Stack(folder, ui=False, tell=told) as stack:
        assert stack.events.wait_for_cut(beat(stack.config.conninfo()), PATIENCE_S)

        _kill(folder, "capture")
        told.wait_for(lambda sentence: sentence == "capture runs again")
        _found_a_tenant(stack, "one")
        assert stack.events.wait_for_cut(beat(stack.config.conninfo()), PATIENCE_S)

        _kill(folder, "postgres")
        told.wait_for(lambda sentence: sentence == "PostgreSQL runs again")
        _found_a_tenant(stack, "two")
        assert stack.events.wait_for_cut(beat(stack.config.conninfo()), PATIENCE_S)

        assert _tenants(stack) == [["one"], ["two"]]


def test_a_row_changed_behind_its_events_is_told_when_the_stack_starts(place: Path) -> None:
    with StateFolder(place) as folder, Stack(folder, ui=False, tell=Told()) as stack:
        _found_a_tenant(stack, "one")
        with stack.postgres.connect(platform.DATABASE) as admin, admin.transaction():
            admin.execute("SET LOCAL session_replication_role = replica")  # past the trigger that would refuse it
            admin.execute("UPDATE directory.tenants SET name = 'x'")

    told = Told()
    with StateFolder(place) as folder, Stack(folder, ui=False, tell=told):
        sentence = told.wait_for(lambda sentence: "differs" in sentence)

    assert sentence.startswith("directory.tenants differs from its events in 1 rows, e.g. ")


def test_a_lake_on_files_survives_a_restart_at_the_same_address(place: Path) -> None:
    with StateFolder(place) as folder, Stack(folder, ui=False, tell=Told()) as stack:
        assert stack.events.wait_for_cut(beat(stack.config.conninfo()), PATIENCE_S)
        _found_a_tenant(stack, "before")
        assert stack.events.wait_for_cut(beat(stack.config.conninfo()), PATIENCE_S)
        first_cut, address = _first_cut(stack), stack.directory_url

    with StateFolder(place) as folder, Stack(folder, ui=False, tell=Told()) as stack:
        _found_a_tenant(stack, "after")
        assert stack.events.wait_for_cut(beat(stack.config.conninfo()), PATIENCE_S)

        assert _tenants(stack) == [["after"], ["before"]]
        assert (_first_cut(stack), stack.directory_url) == (first_cut, address)
        assert status_of(stack.config).verdict is Verdict.HEALTHY


def test_up_stops_at_sigterm_and_leaves_no_process_behind(place: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "up", "--no-ui", "--json", "--state", str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as up:
        assert up.stdout is not None
        urls = json.loads(up.stdout.readline())
        children = [json.loads(note.read_text())["pid"] for note in (place / "running").glob("*.json")]

        up.send_signal(signal.SIGTERM)
        code = up.wait(15)

    assert code == 0
    assert urls["config"] == str(place / "rireki.toml")
    assert "password" not in str(urls)
    assert len(children) == 6
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def _kill(folder: StateFolder, name: str) -> None:
    pid = json.loads((folder.path / "running" / f"{name}.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)


def _found_a_tenant(stack: Stack, name: str) -> None:
    """Straight into the platform's database: what matters here is only that a row changes."""
    with stack.postgres.connect("platform") as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # without the journal's triggers
        connection.execute(
            "INSERT INTO directory.tenants (tenant_id, name, kana, version) VALUES (gen_random_uuid(), %s, 'カナ', 1)",
            (name,),
        )


def _tenants(stack: Stack) -> list[list[object]]:
    answer = Lake.open(stack.config.lake_root()).sql("SELECT name FROM directory.tenants ORDER BY name")
    assert answer.as_of.complete
    return [list(row.values()) for row in answer.arrow.to_pylist()]


def _first_cut(stack: Stack) -> object:
    lake = status_of(stack.config).lake
    return None if lake is None else lake.first
