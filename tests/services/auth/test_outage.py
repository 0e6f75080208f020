"""People log in whatever becomes of the directory's process. ``make drill`` is the same for a minute, with figures."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from infra.postgres import Postgres
from tests.benchmarks.drill import Running, worked_hard
from tests.benchmarks.logins import Phase, steady
from tests.services.auth.conftest import Auth, came_back
from tests.services.conftest import cloned

PER_SECOND, SECONDS = 2.0, 4.0


@pytest.mark.slow
def test_everybody_logs_in_while_the_directory_is_dead_and_while_its_tables_are_worked_hard(
    postgres: Postgres, template: str
) -> None:
    with cloned(postgres, template) as platform, Running.both(platform) as running:
        members = running.people(4)

        running.kill_directory()
        dead = Phase("dead", asyncio.run(steady(running.target, members, per_second=PER_SECOND, seconds=SECONDS)))
        assert not running.directory_answers()
        with worked_hard(platform, members):
            loaded = Phase(
                "loaded", asyncio.run(steady(running.target, members, per_second=PER_SECOND, seconds=SECONDS))
            )

    assert [outcome.failed for outcome in (*dead.outcomes, *loaded.outcomes) if outcome.failed] == []
    assert len(dead.outcomes) == len(loaded.outcomes) == 8


def test_a_login_waits_for_no_row_that_the_directory_holds(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    with psycopg.connect(auth.platform.admin_dsn) as admin:
        for table in ("tenants", "users", "login_identifiers", "memberships", "role_grants"):
            admin.execute(f"SELECT FROM directory.{table} FOR UPDATE")

        told = came_back(browser.log_in(member))

        assert browser.userinfo(browser.exchange(told["code"]).json()["access_token"]).status_code == 200
        admin.rollback()


def test_the_directory_can_use_up_its_own_connections_and_nobody_elses(auth: Auth) -> None:
    member, opened = auth.member(), []
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        while len(opened) <= 40:
            opened.append(psycopg.connect(auth.platform.dsn_of("directory")))

    told = came_back(auth.browser().log_in(member))

    assert told["code"]
    for connection in opened:
        connection.close()
