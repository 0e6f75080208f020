"""Real servers for every test: one PostgreSQL and one S3 endpoint per run, a fresh database and bucket per test."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.object_store import S3Server
from infra.postgres import Postgres
from infra.state import StateFolder


@dataclass(frozen=True)
class Database:
    """An empty database of the run's server. ``dsn`` is the superuser's."""

    server: Postgres
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """Autocommit unless told otherwise."""
        return psycopg.connect(self.dsn, **{"autocommit": True, **options})

    def execute(self, *statements: str) -> None:
        """Each in a transaction of its own."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of the run's S3 endpoint."""

    server: S3Server
    name: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def options(self) -> dict[str, str]:
        return self.server.options

    @property
    def endpoint(self) -> str:
        return self.server.endpoint


@pytest.fixture(scope="session")
def state_folder() -> Iterator[StateFolder]:
    # Not under pytest's own folder: that is closed to the account which PostgreSQL runs as under root.
    path = Path(tempfile.mkdtemp(prefix="rireki-tests-"))
    with StateFolder(path) as folder:
        yield folder
        folder.destroy()


@pytest.fixture(scope="session")
def postgres(state_folder: StateFolder) -> Iterator[Postgres]:
    """PostgreSQL 18 with wal_level = logical. Change nothing in it that another test would see."""
    with Postgres.start(state_folder, durable=False) as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.create_database(name)
    yield Database(postgres, name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def s3_server(state_folder: StateFolder) -> Iterator[S3Server]:
    with S3Server.start(state_folder) as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server) -> Bucket:
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3_server.create_bucket(name)
    return Bucket(s3_server, name)


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """An empty folder that an unprivileged account can enter, too."""
    path = Path(tempfile.mkdtemp(prefix="rireki-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
