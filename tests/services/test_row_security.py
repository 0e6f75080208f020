"""The database keeps tenants apart, even where the SQL that runs in it asks for everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from services.migrate.apply import OWNER
from services.shared.context import Context
from services.shared.errors import StartupError
from services.shared.transaction import Database
from tests.services.conftest import Api, Platform, TwoTenants

TABLES = (
    "tenants",
    "organisations",
    "pharmacies",
    "users",
    "login_identifiers",
    "memberships",
    "role_grants",
    "events",
    "idempotency_keys",
)
UPDATABLE = ("organisations", "pharmacies", "users", "memberships", "role_grants")


@pytest.fixture
def tenants(two_tenants: TwoTenants) -> tuple[str, str]:
    return two_tenants.mine, two_tenants.theirs


@pytest.fixture
def platform(two_tenants: TwoTenants) -> Platform:
    return two_tenants.platform


@pytest.fixture
def service(platform: Platform) -> Iterator[psycopg.Connection[Any]]:
    """Logged in as the service, to run whatever SQL a mistake might run."""
    with psycopg.connect(platform.service_dsn) as connection:
        yield connection
        connection.rollback()


def _bind(connection: psycopg.Connection[Any], tenant: str) -> None:
    connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))


def _tenants_seen(connection: psycopg.Connection[Any], table: str) -> set[str]:
    query = sql.SQL("SELECT DISTINCT tenant_id::text FROM {}").format(sql.Identifier("directory", table))
    return {row[0] for row in connection.execute(query)}


def test_every_table_with_a_tenant_is_looked_at_here(platform: Platform) -> None:
    found = platform.rows(
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = 'directory' AND column_name = 'tenant_id'"
    )

    assert {row["table_name"] for row in found} == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_a_tenant_sees_its_rows_and_no_others(
    table: str, tenants: tuple[str, str], service: psycopg.Connection[Any]
) -> None:
    for tenant in tenants:
        _bind(service, tenant)

        assert _tenants_seen(service, table) == {tenant}


@pytest.mark.parametrize("table", TABLES)
def test_without_a_tenant_there_are_no_rows_before_and_after_one_was_bound(
    table: str, tenants: tuple[str, str], service: psycopg.Connection[Any]
) -> None:
    assert _tenants_seen(service, table) == set()

    _bind(service, tenants[0])
    assert _tenants_seen(service, table) == {tenants[0]}
    service.commit()

    assert service.execute("SELECT current_setting('app.tenant_id', true)").fetchone() == ("",)
    assert _tenants_seen(service, table) == set()


@pytest.mark.parametrize("table", TABLES)
def test_dropping_the_policy_or_its_force_would_be_noticed(
    table: str, tenants: tuple[str, str], platform: Platform
) -> None:
    name = sql.Identifier("directory", table)
    with psycopg.connect(platform.admin_dsn) as admin:
        admin.execute("SELECT 1")
        for broken in ("DROP POLICY tenant ON {}", "ALTER TABLE {} NO FORCE ROW LEVEL SECURITY"):
            assert admin.execute("SELECT * FROM rls.unprotected('directory')").fetchall() == []
            admin.execute(sql.SQL(broken).format(name))
            lacking = admin.execute("SELECT relation FROM rls.unprotected('directory')").fetchall()
            assert (table,) in lacking
            admin.rollback()
        admin.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(name))
        admin.execute("SET LOCAL ROLE directory")
        _bind(admin, tenants[0])
        assert _tenants_seen(admin, table) == set(tenants)  # what the policy has kept from us
        admin.rollback()


@pytest.mark.parametrize("table", UPDATABLE)
def test_a_tenant_touches_its_rows_and_no_others(
    table: str, tenants: tuple[str, str], service: psycopg.Connection[Any]
) -> None:
    mine, theirs = tenants
    _bind(service, mine)
    statement = sql.SQL("UPDATE {} SET updated_at = now() WHERE tenant_id = %s").format(
        sql.Identifier("directory", table)
    )

    assert service.execute(statement, (mine,)).rowcount == 1
    assert service.execute(statement, (theirs,)).rowcount == 0


def test_a_row_can_not_be_written_for_another_tenant(
    tenants: tuple[str, str], service: psycopg.Connection[Any]
) -> None:
    insert = (
        "INSERT INTO directory.organisations (id, tenant_id, kind, name, kana, version) "
        "VALUES (%s, %s, 'area', 'x', 'x', 1)"
    )
    mine, theirs = tenants
    _bind(service, mine)
    service.execute(insert, (uuid4(), mine))

    with pytest.raises(pg.InsufficientPrivilege, match="row-level security"):
        service.execute(insert, (uuid4(), theirs))


def test_a_row_can_not_refer_to_another_tenants_row(tenants: tuple[str, str], service: psycopg.Connection[Any]) -> None:
    mine, theirs = tenants
    _bind(service, theirs)
    found = service.execute("SELECT id FROM directory.organisations").fetchone()
    assert found is not None
    _bind(service, mine)
    own = service.execute("SELECT id FROM directory.organisations").fetchone()
    assert own is not None
    insert = (
        "INSERT INTO directory.organisations (id, tenant_id, parent_id, kind, name, kana, version) "
        "VALUES (%s, %s, %s, 'area', 'x', 'x', 1)"
    )
    service.execute(insert, (uuid4(), mine, own[0]))

    with pytest.raises(pg.ForeignKeyViolation):
        service.execute(insert, (uuid4(), mine, found[0]))


def test_the_owner_is_bound_too(tenants: tuple[str, str], platform: Platform) -> None:
    with psycopg.connect(platform.admin_dsn) as connection:
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))

        assert {table: _tenants_seen(connection, table) for table in TABLES} == {table: set() for table in TABLES}
        _bind(connection, tenants[1])
        assert {table: _tenants_seen(connection, table) for table in TABLES} == {t: {tenants[1]} for t in TABLES}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("command", ["DELETE FROM {}", "TRUNCATE {}", "ALTER TABLE {} DISABLE ROW LEVEL SECURITY"])
def test_the_service_may_not(command: str, table: str, service: psycopg.Connection[Any]) -> None:
    with pytest.raises(pg.InsufficientPrivilege):
        service.execute(sql.SQL(command).format(sql.Identifier("directory", table)))


@pytest.mark.parametrize("column", ["id", "tenant_id", "created_at"])
def test_the_service_may_not_move_a_row_to_another_id_or_tenant(column: str, service: psycopg.Connection[Any]) -> None:
    with pytest.raises(pg.InsufficientPrivilege):
        service.execute(sql.SQL("UPDATE directory.users SET {column} = {column}").format(column=sql.Identifier(column)))


def test_the_services_role_has_exactly_its_grants(platform: Platform) -> None:
    role = platform.rows(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
        "WHERE rolname = 'directory'"
    )
    granted = platform.rows(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee = 'directory'"
    )
    columns = platform.rows(
        "SELECT DISTINCT table_name FROM information_schema.role_column_grants "
        "WHERE grantee = 'directory' AND privilege_type = 'UPDATE'"
    )

    assert role == [dict.fromkeys(role[0], False)]
    assert {(row["table_name"], row["privilege_type"]) for row in granted} == {
        (table, privilege) for table in TABLES for privilege in ("SELECT", "INSERT")
    }
    assert {row["table_name"] for row in columns} == set(UPDATABLE)


def test_another_tenants_ids_are_not_there(api: Api) -> None:
    api.found()
    organisation = api.organisation()
    pharmacy = api.pharmacy(organisation)
    user = api.user()
    membership = api.do(f"/v1/users/{user['id']}/memberships", {"pharmacy_id": pharmacy["id"]})
    grant = api.do(f"/v1/users/{user['id']}/role-grants", {"role": "clerk"})
    paths = [
        f"/v1/organisations/{organisation['id']}",
        f"/v1/pharmacies/{pharmacy['id']}",
        f"/v1/users/{user['id']}",
        f"/v1/users/{user['id']}/access",
        f"/v1/memberships/{membership['id']}",
        f"/v1/role-grants/{grant['id']}",
    ]
    own_tenant = api.tenant
    assert [api.get(path).status_code for path in paths] == [200] * len(paths)

    api.found()
    commands: list[tuple[str, dict[str, Any], int | None]] = [
        (f"/v1/organisations/{organisation['id']}/rename", {"name": "x", "kana": "x"}, 1),
        ("/v1/organisations", {"name": "x", "kana": "x", "parent_id": organisation["id"]}, None),
        (f"/v1/pharmacies/{pharmacy['id']}/transfer", {"organisation_id": organisation["id"]}, 1),
        (f"/v1/users/{user['id']}/activate", {}, 1),
        (f"/v1/users/{user['id']}/suspend", {}, 1),
        (f"/v1/users/{user['id']}/retire", {}, 1),
        (f"/v1/users/{user['id']}/memberships", {"pharmacy_id": pharmacy["id"]}, None),
        (f"/v1/users/{api.user()['id']}/memberships", {"pharmacy_id": pharmacy["id"]}, None),
        (f"/v1/users/{user['id']}/role-grants", {"role": "clerk"}, None),
        (f"/v1/memberships/{membership['id']}/transfer", {"pharmacy_id": pharmacy["id"]}, 1),
        (f"/v1/memberships/{membership['id']}/end", {}, 1),
        (f"/v1/role-grants/{grant['id']}/revoke", {}, 1),
    ]

    assert [api.get(path).status_code for path in paths] == [404] * len(paths)
    assert [api.command(path, body, version=version).status_code for path, body, version in commands] == [404] * 12
    assert api.get(f"/v1/events?aggregate_id={user['id']}").json()["items"] == []
    api.tenant = own_tenant
    assert len(api.get(f"/v1/events?aggregate_id={user['id']}").json()["items"]) == 1


def test_one_pooled_connection_serves_two_tenants_without_mixing_them(
    tenants: tuple[str, str], platform: Platform
) -> None:
    query: LiteralString = "SELECT DISTINCT tenant_id::text AS t, pg_backend_pid() AS pid FROM directory.users"
    database = Database(platform.service_dsn, max_connections=1, name="test")
    database.open()
    try:
        backends = set()
        for tenant in [*tenants, *reversed(tenants)]:
            context = Context(UUID(tenant), "system", "test", "r", uuid4())
            with database.tenant_reading(context) as reading:
                seen = reading.rows(query)
            with database.tenant_transaction(context) as transaction:
                seen += transaction.rows(query)
            assert [row["t"] for row in seen] == [tenant, tenant]
            backends |= {row["pid"] for row in seen}
        assert len(backends) == 1
    finally:
        database.close()


def test_a_role_that_row_security_does_not_bind_is_refused_at_the_start(platform: Platform) -> None:
    database = Database(platform.admin_dsn, max_connections=1, name="test")

    with pytest.raises(StartupError, match="row security does not bind it") as refused:
        database.open()

    assert "services.migrate" in refused.value.fix


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM directory.users",
        "SELECT * FROM directory.memberships WHERE valid_to IS NULL",
        "SELECT * FROM directory.events",
    ],
)
def test_the_policy_uses_the_tenants_index(query: str, tenants: tuple[str, str], platform: Platform) -> None:
    """With two tenants a scan is as good, so the planner is told to avoid it; what counts is that an index serves."""
    with psycopg.connect(platform.service_dsn) as connection:
        _bind(connection, tenants[0])
        connection.execute("SET LOCAL enable_seqscan = off")

        plan = "\n".join(row[0] for row in connection.execute("EXPLAIN " + query))

    assert "Index" in plan
    assert "Index Cond: (tenant_id = (InitPlan" in plan or "Index Cond: (tenant_id = $0)" in plan
