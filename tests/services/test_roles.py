"""One service can't starve the others: each role has its share of connections, and nothing of it lasts for ever."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from tests.services.conftest import Platform, TwoTenants
from tests.services.context import bind

SERVICES = ("directory", "asset", "auth")
LIMIT = 30


def _settings(connection: psycopg.Connection[Any]) -> dict[str, str]:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "search_path", "TimeZone")
    return {name: str(connection.execute(f"SHOW {name}".encode()).fetchone()[0]) for name in names}  # type: ignore[index]


@pytest.mark.parametrize(
    ("role", "statement", "lock", "idle"),
    [("directory", "10s", "5s", "15s"), ("asset", "10s", "5s", "15s"), ("auth", "5s", "3s", "10s")],
)
def test_a_role_logs_in_with_its_timeouts(role: str, statement: str, lock: str, idle: str, platform: Platform) -> None:
    with psycopg.connect(platform.dsn_of(role)) as service:
        assert _settings(service) == {
            "statement_timeout": statement,
            "lock_timeout": lock,
            "idle_in_transaction_session_timeout": idle,
            "search_path": '""',
            "TimeZone": "UTC",
        }


def test_a_service_that_takes_every_connection_it_can_get_leaves_the_others_theirs(platform: Platform) -> None:
    limits = platform.rows("SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname = ANY(%s)", list(SERVICES))
    assert {row["rolname"]: row["rolconnlimit"] for row in limits} == dict.fromkeys(SERVICES, LIMIT)
    with ExitStack() as held:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            for _ in range(LIMIT + 1):
                held.enter_context(psycopg.connect(platform.dsn_of("asset")))

        for other in ("directory", "auth"):
            psycopg.connect(platform.dsn_of(other)).close()


def test_together_the_services_leave_room_for_the_administrator(platform: Platform) -> None:
    (row,) = platform.rows("SELECT current_setting('max_connections')::int AS most")

    assert len(SERVICES) * LIMIT < row["most"]


def test_a_statement_without_an_end_is_ended(platform: Platform) -> None:
    began = time.monotonic()
    with psycopg.connect(platform.dsn_of("auth")) as service, pytest.raises(pg.QueryCanceled):
        service.execute("SELECT pg_sleep(60)")

    assert time.monotonic() - began < 10


def test_waiting_for_a_lock_ends_before_the_statement_would(two_tenants: TwoTenants) -> None:
    platform = two_tenants.platform
    with psycopg.connect(platform.admin_dsn) as holder:
        holder.execute("SELECT 1 FROM auth.accounts FOR UPDATE")
        with psycopg.connect(platform.dsn_of("auth")) as service, pytest.raises(pg.LockNotAvailable):
            bind(service, two_tenants.mine)
            service.execute("SELECT 1 FROM auth.accounts FOR NO KEY UPDATE")


INNER = {
    "directory_reorg": {"directory.reorganise"},
    "asset_reorg": {"asset.reorganise"},
    "auth_reorg": {"auth.reorganise"},
    "auth_login": {"auth.find_login"},
    "auth_secrets": set(),
    "platform_breakglass": set(),
}


@pytest.mark.parametrize("role", INNER)
def test_an_inner_role_logs_in_nowhere_bypasses_nothing_and_owns_its_one_function(
    role: str, platform: Platform
) -> None:
    (attributes,) = platform.rows(
        "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls "
        "FROM pg_roles WHERE rolname = %s",
        role,
    )
    owned = platform.rows(
        "SELECT pg_describe_object(classid, objid, 0) AS what FROM pg_shdepend "
        "WHERE deptype = 'o' AND refobjid = %s::regrole AND dbid = (SELECT oid FROM pg_database "
        "WHERE datname = current_database())",
        role,
    )
    inheriting = platform.rows(
        "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND pg_has_role(oid, %s::regrole, 'USAGE')",
        role,
    )

    assert set(attributes.values()) == {False}
    assert {row["what"].split("(")[0].removeprefix("function ") for row in owned} == INNER[role]
    assert inheriting == []


@pytest.mark.parametrize("role", INNER)
def test_an_inner_role_deletes_and_truncates_nothing_that_is_state_or_event(role: str, platform: Platform) -> None:
    granted = platform.rows(
        "SELECT table_schema || '.' || table_name AS name, privilege_type AS privilege "
        "FROM information_schema.role_table_grants WHERE grantee = %s "
        "AND privilege_type NOT IN ('SELECT', 'INSERT') AND table_name NOT LIKE '%%secret%%'",
        role,
    )

    assert {(row["name"], row["privilege"]) for row in granted} == {
        "auth_secrets": {
            ("auth.totp_seeds", "DELETE"),
            ("auth.webauthn_credentials", "DELETE"),
            ("auth.recovery_codes", "DELETE"),
            ("auth.subject_keys", "DELETE"),
        }
    }.get(role, set())
