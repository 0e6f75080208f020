"""A source, a lake on disk or on S3, and capture between them, in this process or in one that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdc.slot import beat, drop_slot
from lakehouse.lake import Lake
from pipelines import config as configuration
from pipelines.capture import Capture, CaptureReport
from pipelines.config import Config
from pipelines.progress import Progress
from pipelines.reconcile import Reconciliation, reconcile
from tests.conftest import Bucket, Database

PATIENCE_S = 60.0


@dataclass
class Pipeline:
    """One stream of the test's database into one lake."""

    database: Database
    config: Config
    environment: dict[str, str]

    def drain(self) -> CaptureReport:
        """Everything committed so far."""
        return Capture(self.config).drain(beat(self.config.conninfo()))

    @contextmanager
    def running(self) -> Iterator[list[Progress]]:
        """Capture in a thread; the events it told so far. Its failure fails the test."""
        stop, told, failed = threading.Event(), list[Progress](), list[BaseException]()

        def run() -> None:
            try:
                Capture(self.config, told.append).run(stop)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield told
        finally:
            stop.set()
            thread.join(PATIENCE_S)
        assert not failed, failed
        assert not thread.is_alive(), "capture didn't stop"

    def process(self, *options: str) -> subprocess.Popen[bytes]:
        """Capture in a process of its own."""
        command = [sys.executable, "-m", "pipelines.cli", "capture", "--config", str(self.config.file), *options]
        return subprocess.Popen(
            command, env=os.environ | self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def reconcile(self) -> Reconciliation:
        return reconcile(self.config)

    def reconcile_drained(self) -> Reconciliation:
        """Source and lake compared while nobody captures otherwise."""
        with self.running():
            return self.reconcile()

    def lake(self) -> Lake:
        return Lake.open(self.config.lake_root())


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        threading.Event().wait(0.05)


@pytest.fixture(params=["file", "s3"])
def pipeline(
    request: pytest.FixtureRequest, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    """A publication without tables, on each kind of lake."""
    name = database.name
    settings = [
        f'[source]\ndsn = "{database.dsn}"',
        f'[stream]\nname = "{name}"',
        "[capture]\nmax_fill_ms = 50\nidle_cut_seconds = 1",
    ]
    environment: dict[str, str] = {}
    if request.param == "file":
        settings.append(f'[lake]\nurl = "{(tmp_path / "lake").as_uri()}"')
    else:
        bucket: Bucket = request.getfixturevalue("s3")
        settings.append(f'[lake]\nurl = "{bucket.url}"\nendpoint = "{bucket.endpoint}"')
        environment = {k: v for k, v in bucket.options.items() if k.startswith("AWS_") and "KEY" in k}
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
    file = tmp_path / "rireki.toml"
    file.write_text("\n".join(settings) + "\n")
    database.execute(f"CREATE PUBLICATION {name} WITH (publish_via_partition_root = true)")
    yield Pipeline(database, configuration.load(file), environment)
    if database.rows(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{name}'"):
        drop_slot(database.dsn, name)
