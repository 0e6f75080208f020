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
from tests.services import matrix
from tests.services.conftest import Api, Platform, TwoTenants
from tests.services.context import bind

SABOTAGE = {
    "its policy dropped": "DROP POLICY tenant ON {}",
    "its policy open to reading": "ALTER POLICY tenant ON {} USING (true)",
    "its policy open to writing": "ALTER POLICY tenant ON {} WITH CHECK (true)",
    "the owner let off": "ALTER TABLE {} NO FORCE ROW LEVEL SECURITY",
    "row security off": "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
    "a second, open policy": "CREATE POLICY helpful ON {} USING (true)",
}


@pytest.fixture
def tenants(two_tenants: TwoTenants) -> tuple[str, str]:
    return two_tenants.mine, two_tenants.theirs


@pytest.fixture
def platform(two_tenants: TwoTenants) -> Platform:
    return two_tenants.platform


@pytest.fixture
def service(platform: Platform) -> Iterator[psycopg.Connection[Any]]:
    """Logged in as the service, to run whatever SQL a mistake might run."""
    with psycopg.connect(platform.dsn_of("directory")) as connection:
        yield connection
        connection.rollback()


def _tenants_seen(connection: psycopg.Connection[Any], table: str) -> set[str]:
    query = sql.SQL("SELECT DISTINCT tenant_id::text FROM {}").format(sql.Identifier(*table.split(".")))
    return {row[0] for row in connection.execute(query)}


@pytest.fixture
def admin(platform: Platform) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(platform.admin_dsn) as connection:
        yield connection
        connection.rollback()


def test_the_matrix_of_tenant_role_table_and_command_holds(
    tenants: tuple[str, str], admin: psycopg.Connection[Any]
) -> None:
    assert len(matrix.tables(admin)) >= 15
    assert matrix.breaches(admin, *tenants) == []


@pytest.mark.parametrize("sabotage", SABOTAGE.values(), ids=SABOTAGE)
def test_the_matrix_and_the_migrations_notice_whichever_table_is_opened(
    sabotage: LiteralString, tenants: tuple[str, str], admin: psycopg.Connection[Any]
) -> None:
    for table in matrix.tables(admin):
        schema, _, name = table.partition(".")
        with admin.transaction(force_rollback=True):
            admin.execute(sql.SQL(sabotage).format(sql.Identifier(schema, name)))

            lacking = admin.execute("SELECT relation FROM rls.unprotected(%s)", (schema,)).fetchall()
            broken = matrix.breaches(admin, *tenants, only=[table])

        assert (name,) in lacking
        assert broken, f"{table}: {sabotage} and no cell fell"


def test_no_tenant_is_bound_any_more_once_its_transaction_is_over(
    tenants: tuple[str, str], service: psycopg.Connection[Any]
) -> None:
    bind(service, tenants[0])
    assert _tenants_seen(service, "directory.users") == {tenants[0]}
    service.commit()

    assert service.execute("SELECT current_setting('app.tenant_id', true)").fetchone() == ("",)
    assert _tenants_seen(service, "directory.users") == set()


def test_a_row_can_not_refer_to_another_tenants_row(tenants: tuple[str, str], service: psycopg.Connection[Any]) -> None:
    mine, theirs = tenants
    bind(service, theirs)
    found = service.execute("SELECT id FROM directory.organisations").fetchone()
    assert found is not None
    bind(service, mine)
    own = service.execute("SELECT id FROM directory.organisations").fetchone()
    assert own is not None
    insert = (
        "INSERT INTO directory.organisations (id, tenant_id, parent_id, kind, name, kana, version) "
        "VALUES (%s, %s, %s, 'area', 'x', 'x', 1)"
    )
    service.execute(insert, (uuid4(), mine, own[0]))

    with pytest.raises(pg.ForeignKeyViolation):
        service.execute(insert, (uuid4(), mine, found[0]))


@pytest.mark.parametrize("command", ["DELETE FROM {}", "TRUNCATE {}", "ALTER TABLE {} DISABLE ROW LEVEL SECURITY"])
def test_a_service_may_not(command: LiteralString, admin: psycopg.Connection[Any]) -> None:
    for table in matrix.tables(admin):
        for role in ("directory", "asset", "auth"):
            with pytest.raises(pg.InsufficientPrivilege), admin.transaction(force_rollback=True):
                admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
                admin.execute(sql.SQL(command).format(sql.Identifier(*table.split("."))))


@pytest.mark.parametrize("column", ["id", "tenant_id", "created_at"])
def test_the_service_may_not_move_a_row_to_another_id_or_tenant(column: str, service: psycopg.Connection[Any]) -> None:
    with pytest.raises(pg.InsufficientPrivilege):
        service.execute(sql.SQL("UPDATE directory.users SET {column} = {column}").format(column=sql.Identifier(column)))


GRANTS: dict[str, dict[str, set[str]]] = {
    "directory": {
        "SELECT, INSERT": {
            "directory.tenants",
            "directory.organisations",
            "directory.pharmacies",
            "directory.pharmacy_codes",
            "directory.users",
            "directory.login_identifiers",
            "directory.memberships",
            "directory.role_grants",
            "directory.events",
            "directory.idempotency_keys",
        },
        "UPDATE": {
            "directory.tenants",
            "directory.login_identifiers",
            "directory.organisations",
            "directory.pharmacies",
            "directory.users",
            "directory.memberships",
            "directory.role_grants",
        },
    },
    "asset": {
        "SELECT, INSERT": {
            "asset.contracts",
            "asset.licenses",
            "asset.devices",
            "asset.assignments",
            "asset.events",
            "asset.idempotency_keys",
        },
        "SELECT": {"asset.products", "directory.tenants", "directory.pharmacies", "directory.users"},
        "UPDATE": {"asset.contracts", "asset.licenses", "asset.devices", "asset.assignments"},
    },
    "auth": {
        "SELECT, INSERT": {
            *("auth.clients", "auth.signing_keys", "auth.accounts", "auth.factors", "auth.sessions"),
            *("auth.session_handles", "auth.grants", "auth.codes", "auth.refresh_tokens", "auth.upstreams"),
            *("auth.upstream_links", "auth.events", "auth.idempotency_keys"),
        },
        "SELECT": {
            *("directory.tenants", "directory.organisations", "directory.pharmacies", "directory.users"),
            *("directory.login_identifiers", "directory.memberships", "directory.role_grants"),
        },
        "UPDATE": {
            *("auth.clients", "auth.signing_keys", "auth.accounts", "auth.factors", "auth.sessions"),
            *("auth.session_handles", "auth.grants", "auth.codes", "auth.refresh_tokens", "auth.upstreams"),
            "auth.upstream_links",
        },
    },
}


@pytest.mark.parametrize("role", GRANTS)
def test_a_services_role_has_exactly_its_grants(role: str, platform: Platform) -> None:
    attributes = platform.rows(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = %s",
        role,
    )
    granted = platform.rows(
        "SELECT DISTINCT table_schema || '.' || table_name AS name, privilege_type AS privilege "
        "FROM information_schema.role_column_grants WHERE grantee = %s",
        role,
    )
    whole = platform.rows(
        "SELECT DISTINCT privilege_type AS privilege FROM information_schema.role_table_grants WHERE grantee = %s", role
    )

    assert attributes == [dict.fromkeys(attributes[0], False)]
    assert {(row["name"], row["privilege"]) for row in granted} == {
        (table, privilege)
        for privileges, tables in GRANTS[role].items()
        for privilege in privileges.split(", ")
        for table in tables
    }
    assert {row["privilege"] for row in whole} == {"SELECT", "INSERT"}  # no DELETE; UPDATE by column


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
    database = Database(platform.dsn_of("directory"), max_connections=1, name="test")
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


def test_every_policy_uses_the_tenants_index(tenants: tuple[str, str], admin: psycopg.Connection[Any]) -> None:
    """With two tenants a scan is as good, so the planner is told to avoid it; what counts is that an index serves."""
    admin.execute("SET LOCAL enable_seqscan = off")
    bind(admin, tenants[0])
    admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))

    for table in matrix.tables(admin):
        query = sql.SQL("EXPLAIN SELECT * FROM {}").format(sql.Identifier(*table.split(".")))
        plan = "\n".join(row[0] for row in admin.execute(query))

        assert "Index Cond: (tenant_id = (InitPlan" in plan or "Index Cond: (tenant_id = $0)" in plan, (
            f"{table}: {plan}"
        )
        assert "rls.tenant()" not in plan.split("Index Cond", 1)[1]  # once per statement, not per row
