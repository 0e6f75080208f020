"""``make storm``: commands from many clients at once, while the service and its connections are killed.

Each client sends under its own keys, again when no answer came; decides again when somebody else was first. What was
answered must have happened once, what was refused not at all, and the fold of the events must be the state tables.
"""

from __future__ import annotations

import argparse
import os
import platform as machine
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from infra.postgres import Postgres
from infra.state import StateFolder
from services.journal.verify import Compared, verify
from services.migrate.apply import migrate
from services.workload.client import Actor, Answer, Client, Pace, Refused, Tally
from tests.conftest import Database
from tests.services.conftest import PASSWORDS, TOKEN, Platform, listening

_ACTOR = Actor("operator:storm")
_SHARED = 6  # users whom all clients change: where they collide


@dataclass
class Service:
    """The directory in a process of its own, on one port for all its lives."""

    platform: Platform
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._start()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def _start(self) -> None:
        environment = {**os.environ, "DIRECTORY_DSN": self.platform.dsn_of("directory"), "DIRECTORY_TOKEN": TOKEN}
        command = [sys.executable, "-m", "services.directory", "--port", str(self.port), "--no-access-log"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        _until(lambda: self._answers(), 60)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@dataclass(frozen=True)
class Outcome:
    commands: int
    answered: dict[str, str]  # event id → the key under which it was answered
    refused_keys: list[str]
    retries: int
    conflicts: int
    replayed: int
    kills: int
    seconds: float


def storm(platform: Platform, commands: int, clients: int, kills: int, seed: int) -> Outcome:
    with listening() as free:
        port = free.getsockname()[1]
    service = Service(platform, port)
    tally, stop, done = Tally(), threading.Event(), threading.Event()
    answered: dict[str, str] = {}
    refused: list[str] = []
    lock = threading.Lock()
    began = time.monotonic()

    def client() -> Client:
        return Client(service.url, TOKEN, tally, Pace(0), stop, patience_seconds=120)

    first = client()
    tenant = first.command("/v1/tenants", {"name": "嵐", "kana": "アラシ"}, key=f"storm-{seed}", actor=_ACTOR).id
    users = [
        first.command("/v1/users", _person(f"s{n}-{seed}"), key=f"user-{seed}-{n}", actor=_ACTOR, tenant=tenant).id
        for n in range(_SHARED)
    ]

    def told(answer: Answer, key: str) -> None:
        with lock:
            for event in answer.events:
                answered[event["event_id"]] = key

    def work(number: int, share: int) -> None:
        dice, own, sent = random.Random(f"{seed}/{number}"), client(), 0
        try:
            while sent < share:
                key = f"{seed}-{number}-{sent}"
                sent += 1
                try:
                    told(_one(own, dice, tenant, users, key), key)
                except Refused as refusal:
                    assert refusal.status in (409, 412), refusal
                    with lock:
                        refused.append(key)
        finally:
            own.close()

    def kill() -> None:
        dice = random.Random(f"{seed}/kills")
        for number in range(kills):
            due = commands * (number + 1) // (kills + 1)  # spread over the work: each when so much has been answered
            _until(lambda: len(answered) >= due or done.is_set(), 600)  # noqa: B023 - called before the next round
            if dice.random() < 0.5:
                service.kill()
            else:
                with psycopg.connect(platform.admin_dsn, autocommit=True) as admin:
                    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'directory'")

    try:
        with ThreadPoolExecutor(clients + 1) as pool:
            killing = pool.submit(kill)
            working = [pool.submit(work, n, commands // clients + (n < commands % clients)) for n in range(clients)]
            for future in working:
                future.result()
            done.set()
            killing.result()
    finally:
        stop.set()
        service.stop()
    return Outcome(
        commands, answered, refused, tally.reconnects, len(refused), tally.replayed, kills, time.monotonic() - began
    )


def _one(client: Client, dice: random.Random, tenant: str, users: list[str], key: str) -> Answer:
    what = dice.random()
    send: dict[str, Any] = {"key": key, "actor": _ACTOR, "tenant": tenant}
    if what < 0.4:
        return client.command("/v1/organisations", {"name": key, "kana": "x"}, **send)
    if what < 0.6:
        return client.command("/v1/users", _person(key), **send)
    user = dice.choice(users)
    seen = int(client.read(f"/v1/users/{user}", tenant)["version"])
    body = {"name": f"{key} {dice.random()}", "kana": "x"}
    return client.command(f"/v1/users/{user}/rename", body, if_match=seen, **send)


def _person(mark: str) -> dict[str, Any]:
    return {"name": mark, "kana": "x", "email": f"{mark}@storm.example", "is_pharmacist": False}


def problems(platform: Platform, outcome: Outcome) -> list[str]:
    """What must not be: a lost or doubled event, a refusal with an effect, a state that no event tells."""
    found = []
    ids = {str(row["event_id"]) for row in platform.rows("SELECT event_id FROM directory.events")}
    keys = platform.rows("SELECT key, jsonb_array_length(answer -> 'events') AS events FROM directory.idempotency_keys")
    if lost := outcome.answered.keys() - ids:
        found.append(f"{len(lost)} events that were answered are not there")
    if untold := sum(row["events"] for row in keys) - len(ids):
        found.append(f"{untold:+d} events beside the {len(ids)} that commands answered for")
    if effects := {row["key"] for row in keys} & set(outcome.refused_keys):
        found.append(f"{len(effects)} commands were refused and happened")
    doubled = platform.rows(
        "SELECT name FROM directory.organisations GROUP BY name HAVING count(*) > 1 "
        "UNION ALL SELECT after ->> 'name' FROM directory.events WHERE event_type = 'user.renamed' "
        "GROUP BY 1 HAVING count(*) > 1"
    )
    if doubled:
        found.append(f"{len(doubled)} commands happened twice")
    answered_keys = set(outcome.answered.values())
    if missing := outcome.commands - len(answered_keys) - len(outcome.refused_keys):
        found.append(f"{missing} commands were neither answered nor refused")
    found += [
        f"{t.table}: {t.differing} rows differ from their events" for t in verify(platform.admin_dsn) if t.differing
    ]
    return found


def digest(compared: list[Compared]) -> str:
    return " ".join(f"{one.table}={one.digest}" for one in compared if one.rows)


def _until(holds: Callable[[], bool], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make storm", description=__doc__)
    parser.add_argument("--commands", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}; {machine.platform()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="rireki-storm-") as folder:
        Path(folder).chmod(0o755)
        with StateFolder(Path(folder) / "state") as state, Postgres.start(state, durable=False) as server:
            server.create_database("platform")
            migrate(server.dsn("platform"), PASSWORDS)
            platform = Platform(Database(server, "platform"))
            outcome = storm(platform, given.commands, given.clients, given.kills, given.seed)
            found = problems(platform, outcome)
            compared = verify(platform.admin_dsn)
    print(
        f"{outcome.commands} commands by {given.clients} clients in {outcome.seconds:.0f} s: {outcome.kills} kills, "
        f"{outcome.retries} retries, {outcome.replayed} answered again, {outcome.conflicts} conflicts, "
        f"{sum(one.events for one in compared)} events"
    )
    print(digest(compared))
    print("\n".join(found) if found else "no event lost, none doubled; the fold of the events is the state")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
