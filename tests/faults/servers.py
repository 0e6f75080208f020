"""A server of a test's own, which may be stopped, copied, put back to an earlier state, or promoted."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from infra.postgres import Postgres
from infra.state import StateFolder


@dataclass
class OwnServer:
    """PostgreSQL with a cluster that can be saved and restored while it is down."""

    folder: StateFolder
    settings: dict[str, str] = field(default_factory=dict)
    server: Postgres | None = None

    @property
    def cluster(self) -> Path:
        return self.folder.path / "postgres" / "cluster"

    def start(self) -> Postgres:
        self.server = Postgres.start(self.folder, durable=False, settings=self.settings)
        return self.server

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    def save(self, to: str) -> None:
        """Keep the cluster's present state; the server is down."""
        subprocess.run(["cp", "-a", self.cluster, self.folder.path / to], check=True)

    def restore(self, saved: str) -> None:
        subprocess.run(["rm", "-rf", self.cluster], check=True)
        subprocess.run(["cp", "-a", self.folder.path / saved, self.cluster], check=True)

    def promote(self) -> None:
        """Have it come up as a standby and promote it: its log goes on under a new timeline."""
        signal = self.cluster / "standby.signal"
        signal.touch()
        owner = self.cluster.stat()
        subprocess.run(["chown", f"{owner.st_uid}:{owner.st_gid}", signal], check=True)
        with psycopg.connect(self.start().dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")


@contextmanager
def own_server(**settings: str) -> Iterator[OwnServer]:
    path = Path(tempfile.mkdtemp(prefix="rireki-tests-"))
    path.chmod(0o755)
    with StateFolder(path) as folder:
        own = OwnServer(folder, settings)
        try:
            yield own
        finally:
            own.stop()
            folder.destroy()
