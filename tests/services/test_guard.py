"""A new table can't forget row security, whoever makes it and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from services.migrate.apply import OWNER
from tests.services.conftest import TwoTenants

WAYS: dict[str, LiteralString] = {
    "CREATE TABLE": "CREATE TABLE directory.made (tenant_id uuid NOT NULL, x int)",
    "CREATE TABLE AS": "CREATE TABLE directory.made AS SELECT gen_random_uuid() AS tenant_id, 1 AS x",
    "SELECT INTO": "SELECT gen_random_uuid() AS tenant_id, 1 AS x INTO directory.made",
    "partitioned": "CREATE TABLE directory.made (tenant_id uuid NOT NULL, x int) PARTITION BY HASH (tenant_id)",
    "without a tenant": "CREATE TABLE directory.made (x int)",
    "LIKE": "CREATE TABLE directory.made (LIKE directory.users INCLUDING ALL)",
}


@pytest.fixture
def admin(two_tenants: TwoTenants) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(two_tenants.platform.admin_dsn) as connection:
        yield connection
        connection.rollback()


def _security(admin: psycopg.Connection[Any], table: str) -> tuple[bool, bool]:
    row = admin.execute(
        "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", (table,)
    ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("role", ["the administrator", OWNER])
@pytest.mark.parametrize("way", WAYS)
def test_a_table_made_by_hand_is_closed_until_it_has_a_policy(
    way: str, role: str, admin: psycopg.Connection[Any]
) -> None:
    if role == OWNER:
        admin.execute(f"SET LOCAL ROLE {OWNER}")
    admin.execute(WAYS[way])
    admin.execute("RESET ROLE")

    assert _security(admin, "directory.made") == (True, True)
    lacking = admin.execute("SELECT lacks FROM rls.unprotected('directory') WHERE relation = 'made'").fetchall()
    assert ("a policy by rls.tenant()",) in lacking


def test_a_table_that_says_why_is_let_off(admin: psycopg.Connection[Any]) -> None:
    admin.execute("CREATE TABLE directory.made (x int)")
    admin.execute("COMMENT ON TABLE directory.made IS 'a catalogue'")
    assert _security(admin, "directory.made") == (True, True)

    admin.execute("COMMENT ON TABLE directory.made IS 'rls:exempt a catalogue, the same for all tenants'")

    assert _security(admin, "directory.made") == (False, False)


def test_tables_elsewhere_are_nobodys_business(admin: psycopg.Connection[Any]) -> None:
    admin.execute("CREATE SCHEMA elsewhere")
    admin.execute("CREATE TABLE elsewhere.made (x int)")

    assert _security(admin, "elsewhere.made") == (False, False)


def test_every_table_of_the_services_is_guarded_or_says_why_not(admin: psycopg.Connection[Any]) -> None:
    rows = admin.execute(
        "SELECT n.nspname || '.' || c.relname, c.relrowsecurity, obj_description(c.oid, 'pg_class') "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('directory', 'asset', 'auth', 'rls') AND c.relkind IN ('r', 'p')"
    ).fetchall()

    assert len(rows) > 30
    assert [name for name, secured, told in rows if secured == (told or "").startswith("rls:exempt ")] == []


def test_no_tenants_table_is_exempt_but_the_platforms_own_configuration(admin: psycopg.Connection[Any]) -> None:
    exempt = admin.execute(
        "SELECT a.attrelid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE a.attname = 'tenant_id' AND c.relnamespace IN ('directory'::regnamespace, 'asset'::regnamespace, "
        "'auth'::regnamespace) AND obj_description(c.oid, 'pg_class') LIKE 'rls:exempt %' ORDER BY 1"
    ).fetchall()

    assert exempt == [("auth.clients",), ("auth.signing_keys",)]
