"""Each night: whether the tables still are what their events say; and what is old is forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import psycopg
import pytest

from infra.postgres import Postgres
from services.journal.__main__ import main
from services.journal.services import JOURNALS
from tests.services.conftest import Platform, cloned, served

TABLES = sum(len(journal.aggregates) for journal in JOURNALS)


@contextmanager
def _running(dsn: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "services.journal", "nightly", *arguments]
    environment = os.environ | {"PLATFORM_DSN": dsn}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _round(lines: IO[str] | None) -> list[str]:
    """The tables that one night's look found to differ; ends with what was forgotten."""
    assert lines is not None
    told = [json.loads(lines.readline()) for _ in range(TABLES + 1)]
    assert "forgotten" in told[-1]
    return [table["table"] for table in told[:-1] if table["differing"]]


def _change_behind_its_events(platform: Platform) -> None:
    with psycopg.connect(platform.admin_dsn) as admin:
        admin.execute("SET LOCAL session_replication_role = replica")
        admin.execute("UPDATE directory.users SET name = 'x'")


@pytest.fixture
def platform(postgres: Postgres, template: str) -> Iterator[Platform]:
    """A tenant with a user, and the answer of a command that is older than a month."""
    with cloned(postgres, template) as platform:
        with served(platform) as api:
            api.found()
            api.user()
        with psycopg.connect(platform.admin_dsn) as admin:
            admin.execute("UPDATE directory.idempotency_keys SET created_at = created_at - interval '31 days'")
        yield platform


def test_once_it_looks_then_forgets_and_its_exit_code_says_what_it_found(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = main(["nightly", "--dsn", platform.admin_dsn])
    forgotten = json.loads(capsys.readouterr().out.splitlines()[-1])
    _change_behind_its_events(platform)
    changed = main(["nightly", "--dsn", platform.admin_dsn])

    assert (clean, changed) == (0, 1)
    assert forgotten == {"forgotten": {"directory": 2}}
    assert platform.rows("SELECT 1 AS x FROM directory.idempotency_keys") == []


def test_it_looks_at_once_and_again_after_each_period(platform: Platform) -> None:
    with _running(platform.admin_dsn, "--every", "1s") as process:
        first = _round(process.stdout)
        _change_behind_its_events(platform)
        while (found := _round(process.stdout)) == []:
            pass  # begun before the change

    assert first == []
    assert found == ["directory.users"]


def test_a_database_that_is_away_is_tried_again(platform: Platform, postgres: Postgres) -> None:
    away = f"{platform.database.name}_away"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{platform.database.name}" RENAME TO "{away}"')
        with _running(platform.admin_dsn, "--every", "1s") as process:
            assert process.stderr is not None
            complaint = process.stderr.readline() + process.stderr.readline()
            admin.execute(f'ALTER DATABASE "{away}" RENAME TO "{platform.database.name}"')

            found = _round(process.stdout)

    assert "does not exist" in complaint and "fix:" in complaint
    assert found == []


@pytest.mark.parametrize("period", ["0s", "24", "1d", "1.5h", "h"])
def test_a_period_without_a_unit_is_refused(period: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["nightly", "--dsn", "x", "--every", period])

    assert refused.value.code == 2
    assert "e.g. 24h" in capsys.readouterr().err
