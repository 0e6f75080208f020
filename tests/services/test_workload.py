"""The workload: the same from the same seed, through crashes too, and its oracle agrees with the events."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from infra.postgres import Postgres
from services.directory import events
from services.workload.__main__ import main
from services.workload.run import Plan, run
from tests.services.conftest import TOKEN, Api, Platform, cloned, served

STATE = {
    "tenant": ("tenants", "tenant_id"),
    "organisation": ("organisations", "id"),
    "pharmacy": ("pharmacies", "id"),
    "pharmacy_code": ("pharmacy_codes", "id"),
    "user": ("users", "id"),
    "membership": ("memberships", "id"),
    "role_grant": ("role_grants", "id"),
}


def _plan(api: Api, **more: Any) -> Plan:
    return Plan(str(api.http.base_url), TOKEN, **{"seed": 1, "changes": 240, "tenants": 3, **more})


def _fold_differs(platform: Platform) -> dict[str, int]:
    """Aggregate type → rows where the latest event's state and the table's row differ, or one of them is missing."""
    return {
        kind: len(
            platform.rows(
                f"SELECT 1 AS x FROM directory.{table} s FULL JOIN ("
                "  SELECT DISTINCT ON (aggregate_id) aggregate_id, after FROM directory.events "
                f"  WHERE aggregate_type = '{kind}' ORDER BY aggregate_id, aggregate_version DESC"
                f") e ON e.aggregate_id = s.{key} WHERE to_jsonb(s) IS DISTINCT FROM e.after"
            )
        )
        for kind, (table, key) in STATE.items()
    }


def _contents(platform: Platform) -> dict[str, list[str]]:
    """Every row but for its times."""
    times = "'{created_at,updated_at,granted_at,revoked_at,valid_from,valid_to,retired_on}'::text[]"
    return {
        table: [
            row["row"]
            for row in platform.rows(f"SELECT (to_jsonb(s) - {times})::text AS row FROM directory.{table} s ORDER BY 1")
        ]
        for table, _ in STATE.values()
    }


def test_the_same_seed_makes_the_same_platform(postgres: Postgres, template: str) -> None:
    told, contents, seen = [], [], []
    for threads in (1, 4):
        with cloned(postgres, template) as platform, served(platform) as api:
            told.append(run(_plan(api, threads=threads), threading.Event()))
            contents.append(_contents(platform))
            seen.append(platform.rows("SELECT event_id, event_type FROM directory.events ORDER BY 1"))

    assert contents[0] == contents[1]
    assert seen[0] == seen[1]
    for key in ("changes", "commands", "digest", "tenants", "conflicts"):
        assert told[0][key] == told[1][key]
    assert told[0]["changes"] >= 240
    assert told[0]["replayed"] > 0
    assert told[0]["conflicts"] > 0


@dataclass(frozen=True)
class Driven:
    """A platform after one run, shared by the tests that only look at it."""

    api: Api
    plan: Plan
    told: dict[str, Any]
    oracle: dict[str, Any]

    @property
    def platform(self) -> Platform:
        return self.api.platform


@pytest.fixture(scope="module")
def driven(postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    oracle = tmp_path_factory.mktemp("workload") / "oracle.json"
    with cloned(postgres, template) as platform, served(platform) as api:
        plan = _plan(api, changes=400, oracle_file=oracle)
        told = run(plan, threading.Event())
        yield Driven(api, plan, told, json.loads(oracle.read_text("utf-8")))


def test_the_latest_events_are_the_state(driven: Driven) -> None:
    assert _fold_differs(driven.platform) == dict.fromkeys(STATE, 0)
    assert all(driven.platform.rows(f"SELECT 1 AS x FROM directory.{table} LIMIT 1") for table, _ in STATE.values())


def test_every_command_of_the_directory_is_used(driven: Driven) -> None:
    used = {row["event_type"] for row in driven.platform.rows("SELECT DISTINCT event_type FROM directory.events")}

    assert used == {event.name for event in events.ALL if event not in events.REORGANISED}


def test_run_again_with_its_seed_it_changes_nothing(driven: Driven) -> None:
    before = driven.platform.rows("SELECT event_id FROM directory.events ORDER BY 1")

    again = run(replace(driven.plan, oracle_file=None), threading.Event())

    assert driven.platform.rows("SELECT event_id FROM directory.events ORDER BY 1") == before
    assert again["digest"] == driven.told["digest"]


def test_another_seed_makes_another_platform(driven: Driven, own_api: Api) -> None:
    other = run(_plan(own_api, seed=2, changes=60), threading.Event())

    assert other["digest"] != driven.told["digest"]
    assert set(other["tenants"]).isdisjoint(driven.told["tenants"])


def _access_by_events(platform: Platform, user_id: str, at: str) -> dict[str, Any]:
    """What the user could do at a time, from the events recorded until then."""
    latest = {
        (row["aggregate_type"], row["after"].get("id")): row["after"]
        for row in platform.rows(
            "SELECT aggregate_type, after FROM directory.events WHERE recorded_at <= %s ORDER BY aggregate_version", at
        )
    }
    of_user = {kind: [a for (k, _), a in latest.items() if k == kind and a.get("user_id") == user_id] for kind in STATE}
    memberships = []
    for membership in of_user["membership"]:
        if membership["valid_to"] is None:
            pharmacy = latest[("pharmacy", membership["pharmacy_id"])]
            memberships.append(
                {
                    "pharmacy_id": pharmacy["id"],
                    "pharmacy": pharmacy["name"],
                    "organisation_id": pharmacy["organisation_id"],
                    "organisation": latest[("organisation", pharmacy["organisation_id"])]["name"],
                    "is_primary": membership["is_primary"],
                }
            )
    roles = [
        {"role": grant["role"], "pharmacy_id": grant["pharmacy_id"]}
        for grant in of_user["role_grant"]
        if grant["revoked_at"] is None
    ]
    return {
        "status": latest[("user", user_id)]["status"],
        "memberships": sorted(memberships, key=lambda row: str(row["pharmacy_id"])),
        "roles": sorted(roles, key=lambda row: str(row["role"])),
    }


def test_the_oracle_agrees_with_the_events_at_every_moment(driven: Driven) -> None:
    oracle, moments = driven.oracle, driven.oracle["moments"]

    assert len(moments) == 13
    assert len({json.dumps(moment["access"]) for moment in moments}) > 8
    assert [moment["at"] for moment in moments] == sorted(moment["at"] for moment in moments)
    assert driven.told["protagonist"] == {
        **{key: told for key, told in oracle.items() if key != "instants"},
        "moments": [{key: moment[key] for key in ("at", "what", "actor", "reason")} for moment in moments],
    }
    for moment in moments:
        assert _access_by_events(driven.platform, oracle["user_id"], moment["at"]) == moment["access"], moment["what"]


@contextmanager
def _process(platform: Platform, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The directory as an operator starts it; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "services.directory", "--port", str(port)],
        env={**os.environ, "DIRECTORY_DSN": platform.dsn_of("directory"), "DIRECTORY_TOKEN": TOKEN},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def _until(true: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def test_a_service_killed_in_the_middle_loses_and_doubles_nothing(
    postgres: Postgres, template: str, tmp_path: Path
) -> None:
    with cloned(postgres, template) as platform, served(platform) as api:
        undisturbed = run(_plan(api), threading.Event())
        expected = _contents(platform)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    watched = tmp_path / "protagonist.json"

    with cloned(postgres, template) as platform:
        told: list[dict[str, Any]] = []
        plan = Plan(f"http://127.0.0.1:{port}", TOKEN, 1, 240, tenants=3, watch_user_file=watched)
        thread = threading.Thread(target=lambda: told.append(run(plan, threading.Event())))
        with _process(platform, port) as first:
            thread.start()  # before the service answers: it waits
            _until(lambda: watched.exists() and len(json.loads(watched.read_text("utf-8"))["moments"]) >= 3)
            first.send_signal(signal.SIGKILL)
            first.wait(20)
        with _process(platform, port):
            thread.join(120)
        assert not thread.is_alive()
        assert _contents(platform) == expected
        assert _fold_differs(platform) == dict.fromkeys(STATE, 0)

    assert told[0]["reconnects"] > 0
    assert told[0]["digest"] == undisturbed["digest"]


def test_the_last_line_is_json_for_programs(
    own_api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", TOKEN)
    url = str(own_api.http.base_url)

    code = main(["--url", url, "--token-env", "SOME_TOKEN", "--seed", "9", "--changes", "60", "--json"])

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    assert told["protagonist"].keys() == {"tenant_id", "user_id", "name", "moments"}
    assert told["protagonist"]["moments"][0].keys() == {"at", "what", "actor", "reason"}


@pytest.mark.parametrize(
    ("token", "arguments", "told"),
    [
        ("wrong-token-wrong-token", [], "send the service's token"),
        (TOKEN, ["--url", "http://127.0.0.1:1", "--patience", "0.1"], "start the directory"),
    ],
)
def test_a_service_that_can_not_be_used_ends_it_with_2_and_a_fix(
    token: str,
    arguments: list[str],
    told: str,
    api: Api,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIRECTORY_TOKEN", token)

    code = main(["--url", str(api.http.base_url), *arguments])

    assert code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--changes", "10"], ["--threads", "0"], ["--token-env", "NO_SUCH_VARIABLE"]])
def test_an_argument_that_can_not_be_is_refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_TOKEN", TOKEN)

    with pytest.raises(SystemExit) as refused:
        main(["--url", "http://127.0.0.1:1", *arguments])

    assert refused.value.code == 2


def test_asked_to_stop_it_says_what_was_done(own_api: Api, tmp_path: Path) -> None:
    stop = threading.Event()
    watched = tmp_path / "protagonist.json"
    told: list[dict[str, Any]] = []
    plan = _plan(own_api, changes=5000, pace_per_second=200.0, tenants=1, watch_user_file=watched)
    thread = threading.Thread(target=lambda: told.append(run(plan, stop)))
    thread.start()
    _until(lambda: own_api.platform.rows("SELECT 1 AS x FROM directory.users LIMIT 1"))

    stop.set()
    thread.join(20)

    assert 0 < told[0]["changes"] < 5000
    assert told[0]["tenants"]


def test_a_pace_is_kept(own_api: Api) -> None:
    told = run(_plan(own_api, changes=60, tenants=1, pace_per_second=100.0), threading.Event())

    assert told["seconds"] >= 60 / 100 * 0.9
