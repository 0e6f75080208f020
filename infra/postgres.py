"""An embedded PostgreSQL with logical decoding on: loopback, a generated password, its own configuration.

    <place>/                    ours; .rireki/postgres unless the account can't enter there
        cluster/                PostgreSQL's data, the account's
        postgresql.conf         written at every start
        pg_hba.conf             scram-sha-256 for everybody
        binaries-18/            only where the account can't reach the installed ones

Started by root, the server runs as ``nobody`` (:mod:`infra.account`). Root never writes inside ``cluster``: whoever
owns that folder could put a symbolic link where root expects its own file.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from infra import cluster as clusters
from infra.account import Account
from infra.binaries import VERSIONS, Binaries
from infra.ports import LOOPBACK
from infra.program import Program
from infra.state import StateFolder

SUPERUSER = "postgres"
_NAME = "postgres"
# What a power cut may cost, for speed: for a cluster that lives as long as a test run. Commits stay synchronous:
# logical decoding sees a commit only once it is written.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


@dataclass
class Postgres:
    """A running server. ``with Postgres.start(folder) as server: psycopg.connect(server.dsn("platform"))``."""

    port: int
    binaries: Binaries
    program: Program
    password: str = field(repr=False)  # the superuser's
    host: str = LOOPBACK

    @classmethod
    def start(
        cls,
        folder: StateFolder,
        *,
        port: int | None = None,
        version: int = VERSIONS[0],
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        ready_within_s: float = 120,
    ) -> Postgres:
        """Create the cluster when there is none, start it, and return once it answers.

        ``port``: None for the one it had, or any free one. ``durable=False``: fast, and lost with a power cut.
        ``settings``: further lines of postgresql.conf. ``ready_within_s`` covers the recovery after a crash.
        Raises: BinariesMissing, AccountUnusable, ClusterVersionDiffers, PortTaken, ProgramFailed, StateFolderUnusable.
        """
        account = Account.unprivileged()
        place = folder.place(_NAME, account)
        binaries = Binaries.find(version).reachable_by(account, place)
        chosen = folder.port(_NAME, port)
        cluster = place / "cluster"
        password = folder.secret("postgres-superuser")
        if not cluster.exists():
            clusters.create(cluster, binaries, SUPERUSER, password, account=account, durable=durable)
        clusters.check_version(cluster, version)
        clusters.free_of_orphans(cluster, account)
        config = clusters.configure(place, cluster, chosen, {**({} if durable else _NOT_DURABLE), **(settings or {})})
        program = Program.start(
            folder,
            _NAME,
            [binaries.program("postgres"), "-D", cluster, "-c", f"config_file={config}"],
            ready=lambda: _answers(_url(chosen, "postgres", SUPERUSER, password)),
            ready_within_s=ready_within_s,
            cwd="/",
            account=account,
            stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown: it doesn't wait for clients to leave
            stop_within_s=60,
        )
        return cls(chosen, binaries, program, password)

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything committed is on disk. May be repeated."""
        self.program.stop()

    def dsn(self, dbname: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """As a URL. Without ``password`` only the superuser's is known; for others the client looks for its own."""
        if password is None and user == SUPERUSER:
            password = self.password
        return _url(self.port, dbname, user, password)

    def connect(self, dbname: str = "postgres", *, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        """As superuser."""
        return psycopg.connect(self.dsn(dbname), autocommit=autocommit)

    def has_database(self, name: str) -> bool:
        with self.connect() as connection:
            return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None

    def create_database(self, name: str, *, template: str = "template0", owner: str = SUPERUSER) -> None:
        """``template``: a database that nobody is connected to, copied whole."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*map(sql.Identifier, (name, template, owner)))
            )

    def drop_database(self, name: str) -> None:
        """Its connections are ended, its replication slots dropped. Nothing when there is none."""
        slots = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s"
        with self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            deadline = time.monotonic() + 10
            while any(pid for _, pid in connection.execute(slots, [name])) and time.monotonic() < deadline:
                time.sleep(0.02)
            for slot, _ in connection.execute(slots, [name]).fetchall():
                connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def __enter__(self) -> Postgres:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _url(port: int, dbname: str, user: str, password: str | None) -> str:
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
    # The wheel's server has no TLS; a PGSSLMODE in somebody's environment shall not matter.
    return f"postgresql://{login}@{LOOPBACK}:{port}/{quote(dbname, safe='')}?sslmode=disable"


def _answers(dsn: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(dsn, connect_timeout=2):
        return True
    return False
