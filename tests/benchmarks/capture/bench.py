"""The ground for all measurements: one server, one table of 14 mixed columns, and a fresh lake and slot for each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from cdc.lsn import Lsn
from cdc.slot import beat, ensure_slot
from infra.postgres import Postgres
from infra.state import StateFolder
from pipelines.setup import render

TABLE = """
CREATE TABLE wide (
    id bigint PRIMARY KEY, i2 smallint, i4 int, b bool, f float8, n numeric(12,2), big numeric, t text, v varchar(20),
    at timestamptz, d date, u uuid, j jsonb, raw bytea)
"""
ROWS = """
SELECT i, i % 100, i % 7, i % 2 = 0, i / 3.0, i * 1.25, i / 3.0, 'name ' || i, 'y' || i,
    now() - i * interval '1 min', current_date - (i % 1000)::int, gen_random_uuid(),
    jsonb_build_object('a', i), '\\xdead'
FROM generate_series({first}, {last}) i
"""
PATIENCE_S = 1800


@dataclass(frozen=True)
class Figure:
    """One measured thing. ``ratio`` is what ``ratio_of`` says: at least ``goal``, or at most where ``is_cost``."""

    name: str
    ratio_of: str
    ratio: float
    goal: float
    details: dict[str, Any] = field(default_factory=dict)
    is_cost: bool = False

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal if self.is_cost else self.ratio >= self.goal

    def __str__(self) -> str:
        told = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in self.details.items())
        verdict, bound = "met   " if self.met else "MISSED", "at most" if self.is_cost else "at least"
        return f"{verdict} {self.name}: {self.ratio_of} {self.ratio:.2f} (goal: {bound} {self.goal:.2f}); {told}"


def _short(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


@dataclass
class Bench:
    """``rows`` scales the measurements: 1,000,000 is the size that the goals speak of."""

    server: Postgres
    state: StateFolder
    folder: Path
    rows: int
    _runs: int = 0
    _databases: list[str] = field(default_factory=list)
    _children: list[subprocess.Popen[str]] = field(default_factory=list)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing that is made meanwhile stays: a slot would keep the log, a failed measurement's child the cores."""
        try:
            yield
        finally:
            for child in self._children:
                child.kill()
                child.communicate()
            for name in self._databases:
                self.server.drop_database(name)
            for number in range(1, self._runs + 1):
                shutil.rmtree(self.folder / f"run{number}", ignore_errors=True)
            self._children.clear()
            self._databases.clear()

    def database(self, name: str) -> str:
        """A database with the empty table ``wide``, published as ``bench``; its DSN."""
        self.server.create_database(name)
        self._databases.append(name)
        dsn = self.server.dsn(name)
        self.execute(dsn, TABLE, "CREATE PUBLICATION bench FOR TABLE wide")
        return dsn

    def execute(self, dsn: str, *statements: str, waits_for_log: bool = False) -> None:
        """``waits_for_log``: a commit returns once the log is written; only then does a walsender send it."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"SET synchronous_commit = {'on' if waits_for_log else 'off'}")
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def lake(self, dsn: str, *, url: str | None = None, endpoint: str | None = None, **capture: Any) -> Path:
        """The configuration of a new stream into a new lake."""
        self._runs += 1
        stream = f"run{self._runs}"
        file = self.folder / f"{stream}.toml"
        settings: dict[str, Any] = {
            "source": {"dsn": dsn},
            "stream": {"name": stream, "publication": "bench"},
            "lake": {"url": url or str(self.folder / stream)} | ({"endpoint": endpoint} if endpoint else {}),
        }
        file.write_text(render(settings | ({"capture": capture} if capture else {})))
        return file

    def peer_slot(self, dsn: str) -> str:
        self._runs += 1
        ensure_slot(dsn, f"peer{self._runs}")
        return f"peer{self._runs}"

    def peer_seconds(self, dsn: str, slot: str, until: Lsn) -> float:
        """pg_recvlogical reads the slot up to ``until`` and throws it away; the slot goes, too."""
        command = [
            *(str(self.server.binaries.program("pg_recvlogical")), "-d", dsn, "-S", slot, "--start", "-f", "/dev/null"),
            *("-o", "proto_version=1", "-o", "publication_names=bench", "-o", "binary=true", "-o", "messages=true"),
            *("--endpos", str(until), "--no-loop"),
        ]
        with subprocess.Popen([*command, "--verbose"], stderr=subprocess.PIPE, text=True) as peer:
            assert peer.stderr is not None
            # Our own clock starts here, too: neither side's start-up is measured.
            while "streaming initiated" not in (line := peer.stderr.readline()):
                if not line:
                    raise RuntimeError("pg_recvlogical didn't begin to stream")
            began = time.monotonic()
            peer.stderr.read()
        seconds = time.monotonic() - began
        if peer.returncode:
            raise RuntimeError(f"pg_recvlogical ended with {peer.returncode}")
        self.drop_slot(dsn, slot)
        return seconds

    def drain(self, config: Path, until: Lsn, *, environment: dict[str, str] | None = None) -> dict[str, Any]:
        """Capture up to ``until`` in a process of its own; what that says of itself (see child)."""
        return self.told(self.draining(config, until, environment=environment))

    def draining(self, config: Path, until: Lsn, *, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """The same while something else is done; ``told`` waits for its end."""
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.capture.child", str(config), str(until)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._children.append(child)
        return child

    def told(self, child: subprocess.Popen[str]) -> dict[str, Any]:
        out, _ = child.communicate(timeout=PATIENCE_S)
        self._children.remove(child)
        if child.returncode:
            raise RuntimeError(f"capture ended with {child.returncode}")
        told: dict[str, Any] = json.loads(out.splitlines()[-1])
        return told

    def copied(self, dsn: str, config: Path, *, environment: dict[str, str] | None = None) -> None:
        """Copy what the table holds now, so that only the stream is measured afterwards."""
        self.drain(config, beat(dsn), environment=environment)

    def drop_slot(self, dsn: str, slot: str) -> None:
        """A walsender needs a moment to notice that its client has gone."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
            while connection.execute(active, (slot,)).fetchone() == (True,):
                time.sleep(0.1)
            connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
