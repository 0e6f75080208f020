"""One seed's round: random tables, interleaved authors, a capture process that keeps dying, and the comparison."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from cdc.slot import beat, drop_slot
from infra.object_store import S3Server
from infra.postgres import Postgres
from lakehouse.lake import Lake
from pipelines import config as configuration
from pipelines import failpoints
from pipelines.setup import render
from tests.soak.alterations import Alterations
from tests.soak.authors import Author
from tests.soak.child import Child
from tests.soak.oracle import Moment, differences, doubled, source_now
from tests.soak.tables import Table, random_tables

_DRAINED_WITHIN_S = 120.0
_COMPARED = 12  # moments a round; the last one always


class Mismatch(AssertionError):
    """The lake said something else than the source had, or the capture process ended by itself."""


@dataclass
class Outcome:
    """What a round did."""

    seed: int
    seconds: float = 0.0
    steps: int = 0
    lives: int = 0  # of the capture process
    moments: int = 0
    answers: int = 0  # tables compared, over all moments
    ends: dict[str, int] = field(default_factory=dict)
    altered: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        ends = ", ".join(f"{count}x {what}" for what, count in sorted(self.ends.items()))
        altered = ", ".join(f"{count}x {what}" for what, count in sorted(self.altered.items()))
        return (
            f"seed {self.seed}: {self.steps} steps, {self.lives} lives ({ends}), altered ({altered}),"
            f" {self.answers} tables equal at {self.moments} moments, {self.seconds:.1f} s"
        )


def run_round(
    seed: int, server: Postgres, s3: S3Server, folder: Path, seconds: float, steps: int | None = None
) -> Outcome:
    """Raises Mismatch, which names the seed. The folder keeps the lake and the capture process's words then."""
    r = Random(seed)
    name = f"soak_{seed}"
    server.create_database(name)
    try:
        return _Round(seed, r, server.dsn(name), name, s3, folder).run(seconds, steps)
    except Mismatch as error:
        raise Mismatch(f"seed {seed}: {error}\nagain: make soak ARGS='--seed {seed}'; files: {folder}") from error
    finally:
        with contextlib.suppress(Exception):
            drop_slot(server.dsn(name), name)
        with contextlib.suppress(psycopg.Error):
            server.drop_database(name)


class _Round:
    def __init__(self, seed: int, r: Random, dsn: str, name: str, s3: S3Server, folder: Path) -> None:
        self._random, self._dsn, self._name, self._folder = r, dsn, name, folder
        self._chaos = Random(seed + 1)  # apart: when a process dies mustn't change what the authors do
        self._outcome = Outcome(seed)
        self._environment: dict[str, str] = {}
        on_s3 = r.random() < 0.3
        if on_s3:
            self._environment = {k: v for k, v in s3.options.items() if k.startswith("AWS_") and "KEY" in k}
        lake: dict[str, Any] = {"url": (folder / "lake").as_uri()}
        if on_s3:
            bucket = name.replace("_", "-")
            s3.create_bucket(bucket)
            lake = {"url": f"s3://{bucket}", "endpoint": s3.endpoint}
        self._config = folder / "rireki.toml"
        self._config.write_text(
            render(
                {
                    "source": {"dsn": dsn},
                    "stream": {"name": name},
                    "lake": lake,
                    "capture": {
                        "max_fill_ms": r.choice((0, 20, 200)),
                        "max_batch_rows": r.choice((1, 50, 5_000)),
                        "idle_cut_seconds": 1,
                    },
                }
            )
        )

    def run(self, seconds: float, steps: int | None) -> Outcome:
        began = time.monotonic()
        tables = random_tables(self._random)
        with self._connected() as setup:
            for statement in [s for table in tables for s in table.made()]:
                setup.execute(statement)
            setup.execute(
                sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)").format(
                    sql.Identifier(self._name), sql.SQL(", ").join(table.quoted for table in tables)
                )
            )
            setup.execute("SET lock_timeout = '20ms'")
            moments = self._work(setup, tables, began + seconds, steps)
            self._drain()
            # However often it died before it could copy: this moment it must know.
            moments.append(source_now(setup, tables, self._outcome.steps))
            self._drain()
        self._compare(tables, moments)
        self._outcome.seconds = time.monotonic() - began
        return self._outcome

    def _work(
        self, reader: psycopg.Connection[tuple[Any, ...]], tables: list[Table], until: float, steps: int | None
    ) -> list[Moment]:
        r, chaos = self._random, self._chaos
        moments: list[Moment] = []
        child = self._live()
        with contextlib.ExitStack() as open_now:
            alterations = Alterations(reader, self._name, tables, r)
            authors = [Author(open_now.enter_context(self._connected()), tables, r) for _ in range(r.randint(1, 3))]
            step = 0
            while (time.monotonic() < until) if steps is None else (step < steps):
                step += 1
                r.choice(authors).step()
                if r.random() < 0.01:
                    # An author who has truncated and not yet committed keeps everybody from reading.
                    with contextlib.suppress(psycopg.errors.LockNotAvailable):
                        moments.append(source_now(reader, tables, step))
                if r.random() < 0.012 and (done := alterations.step()):
                    self._outcome.altered[done] = self._outcome.altered.get(done, 0) + 1
                if r.random() < 0.003:
                    reader.execute("SELECT pg_logical_emit_message(true, 'rireki.resync', '{}')")
                if chaos.random() < 0.005:
                    child = self._disturb(child, reader)
                if child.exit_code is not None:
                    self._ended(child)
                    child = self._live()
            for author in authors:
                author.give_up()
            moments.append(source_now(reader, tables, step))
        child.send(signal.SIGKILL)
        child.wait(30)
        self._outcome.steps = step
        return moments

    def _live(self) -> Child:
        self._outcome.lives += 1
        point = self._chaos.choice(failpoints.POINTS)
        action = self._chaos.choice(("kill", "kill", "cut"))
        armed = f"{point}={action}@{self._chaos.choice((1, 1, 2, 3, 5, 10, 30))}"
        return Child(self._config, self._folder / "capture.log", failpoint=armed, **self._environment)

    def _disturb(self, child: Child, reader: psycopg.Connection[tuple[Any, ...]]) -> Child:
        match self._chaos.choice(("kill", "kill", "stop", "disconnect")):
            case "kill":
                child.send(signal.SIGKILL)
            case "stop":
                child.send(signal.SIGTERM)
            case _:
                reader.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
                    (self._name,),
                )
                self._count("disconnected")
        return child

    def _ended(self, child: Child) -> None:
        # A child that is asked to stop before it listens ends by the signal.
        what = {0: "stopped", -signal.SIGTERM: "stopped", -signal.SIGKILL: "killed"}.get(child.exit_code or 0)
        if what is None:
            raise Mismatch(f"the capture process ended by itself with {child.exit_code}\n{child.words()}")
        self._count(what)

    def _count(self, what: str) -> None:
        self._outcome.ends[what] = self._outcome.ends.get(what, 0) + 1

    def _drain(self) -> None:
        until = str(beat(self._dsn))
        child = Child(self._config, self._folder / "capture.log", until=until, **self._environment)
        code = child.wait(_DRAINED_WITHIN_S)
        if code is None:
            child.send(signal.SIGKILL)
            raise Mismatch(f"not drained within {_DRAINED_WITHIN_S:g} s\n{child.words()}")
        if code != 0:
            raise Mismatch(f"the drain ended with {code}\n{child.words()}")

    def _compare(self, tables: list[Table], moments: list[Moment]) -> None:
        with _environment(self._environment):
            lake = Lake.open(configuration.load(self._config).lake_root())
            some = self._random.sample(moments[:-1], min(_COMPARED - 1, len(moments) - 1))
            for moment in [*sorted(some, key=lambda m: m.lsn), moments[-1]]:
                answered, found = differences(lake, moment)
                if found:
                    raise Mismatch("\n".join(map(str, found)))
                self._outcome.moments += 1
                self._outcome.answers += answered
            if answered != len(tables):
                raise Mismatch(f"at the end the lake answers for {answered} of {len(tables)} tables")
            for table in tables:
                if twice := doubled(lake, table):
                    raise Mismatch(f"{table.name}: {twice} changes stand twice in its changelog")

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            yield connection


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    import os

    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
