"""Looking at tenants' rows by hand: with a ticket, for a while, each statement on record; and never otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from tests.services.conftest import TwoTenants

PERSON = "sato_in_tests"


@pytest.fixture
def person(two_tenants: TwoTenants) -> Iterator[psycopg.Connection[Any]]:
    """Logged in as themselves, and nothing more yet."""
    platform = two_tenants.platform
    with psycopg.connect(platform.admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {PERSON} LOGIN NOINHERIT PASSWORD 'x'")
        admin.execute(f"GRANT platform_breakglass TO {PERSON}")
        dsn = platform.database.server.dsn(platform.database.name, user=PERSON, password="x")
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection
        admin.execute(f"DROP ROLE {PERSON}")


def _tenants(connection: psycopg.Connection[Any], table: str = "directory.users") -> int:
    row = connection.execute(f"SELECT count(DISTINCT tenant_id) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def _break(connection: psycopg.Connection[Any], ticket: str = "OPS-123", minutes: int = 30) -> None:
    connection.execute("SET ROLE platform_breakglass")
    connection.execute("SELECT rls.break_glass(%s, 'a customer can''t log in', %s)", (ticket, minutes))


def test_without_a_ticket_there_is_nothing_to_see_and_with_one_everything(person: psycopg.Connection[Any]) -> None:
    with pytest.raises(pg.InsufficientPrivilege):
        _tenants(person)
    person.execute("SET ROLE platform_breakglass")
    assert _tenants(person) == 0

    _break(person)

    assert _tenants(person) == 2
    assert _tenants(person, "asset.devices") == 2
    assert _tenants(person, "auth.sessions") == 2


def test_every_statement_is_on_record_with_who_and_which_ticket(
    two_tenants: TwoTenants, person: psycopg.Connection[Any]
) -> None:
    _break(person, "OPS-77")
    person.execute("SELECT name FROM directory.users WHERE status = 'invited'")

    (kept,) = two_tenants.platform.rows(
        "SELECT login_role, reason, query FROM rls.glass_log l JOIN rls.glass g ON g.id = l.glass_id "
        "WHERE ticket = 'OPS-77'"
    )
    assert kept == {
        "login_role": PERSON,
        "reason": "a customer can't log in",
        "query": "SELECT name FROM directory.users WHERE status = 'invited'",
    }
    with psycopg.connect(two_tenants.platform.admin_dsn) as admin, pytest.raises(pg.RestrictViolation):
        admin.execute("DELETE FROM rls.glass_log")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE directory.users SET name = 'x'",
        "DELETE FROM directory.users",
        "SELECT * FROM auth.passwords",
        "SELECT * FROM auth.event_secrets",
        "SELECT * FROM rls.context_keys",
        "INSERT INTO rls.glass (login_role, ticket, reason, backend_pid, expires_at) "
        "VALUES ('x', 'A-1', 'xxxxx', 1, now())",
    ],
)
def test_behind_the_glass_one_reads_and_reads_no_secrets(statement: str, person: psycopg.Connection[Any]) -> None:
    _break(person)

    with pytest.raises(pg.InsufficientPrivilege):
        person.execute(statement.encode())


def test_what_could_not_be_recorded_is_not_shown(person: psycopg.Connection[Any]) -> None:
    _break(person)
    person.execute("BEGIN READ ONLY")

    with pytest.raises(pg.ReadOnlySqlTransaction):
        _tenants(person)


def test_a_ticket_opens_one_session_for_a_while(two_tenants: TwoTenants, person: psycopg.Connection[Any]) -> None:
    _break(person)
    platform = two_tenants.platform
    dsn = platform.database.server.dsn(platform.database.name, user=PERSON, password="x")
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SET ROLE platform_breakglass")
        assert _tenants(other) == 0

    for ticket, minutes in (("", 30), ("none", 30), ("OPS-1", 0), ("OPS-1", 6000)):
        with pytest.raises((pg.CheckViolation, pg.InvalidParameterValue)):
            _break(person, ticket, minutes)
    with psycopg.connect(platform.admin_dsn) as admin:
        admin.execute("SET LOCAL session_replication_role = replica")
        admin.execute("ALTER TABLE rls.glass DISABLE TRIGGER append_only")
        admin.execute("UPDATE rls.glass SET expires_at = now() - interval '1 second'")
        admin.execute("ALTER TABLE rls.glass ENABLE ALWAYS TRIGGER append_only")
    assert _tenants(person) == 0


def test_a_service_can_not_break_the_glass(two_tenants: TwoTenants) -> None:
    for role in ("directory", "asset", "auth"):
        with psycopg.connect(two_tenants.platform.dsn_of(role)) as service, pytest.raises(pg.InsufficientPrivilege):
            service.execute("SELECT rls.break_glass('OPS-1', 'curious', 30)")


def test_who_would_inherit_it_opens_the_tables_and_that_is_noticed(two_tenants: TwoTenants) -> None:
    with psycopg.connect(two_tenants.platform.admin_dsn) as admin:
        admin.execute("CREATE ROLE careless_in_tests LOGIN INHERIT")
        admin.execute("GRANT platform_breakglass TO careless_in_tests")

        lacking = admin.execute("SELECT lacks FROM rls.unprotected('directory') WHERE relation = 'users'").fetchall()

        assert any("break_glass" in row[0] for row in lacking)
        admin.rollback()
