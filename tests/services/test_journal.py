"""State and events can't part, whoever runs the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from services.migrate.apply import OWNER
from tests.services.conftest import Api, Platform, TwoTenants

STATE_TABLES = (
    "directory.tenants",
    "directory.organisations",
    "directory.pharmacies",
    "directory.pharmacy_codes",
    "directory.users",
    "directory.login_identifiers",
    "directory.memberships",
    "directory.role_grants",
    "asset.contracts",
    "asset.licenses",
    "asset.devices",
    "asset.assignments",
    "auth.accounts",
    "auth.factors",
    "auth.sessions",
    "auth.grants",
    "auth.upstreams",
    "auth.upstream_links",
)


@pytest.fixture
def admin(two_tenants: TwoTenants) -> Iterator[psycopg.Connection[Any]]:
    """The superuser with a psql of his own."""
    with psycopg.connect(two_tenants.platform.admin_dsn) as connection:
        yield connection
        connection.rollback()


def _insert_event(connection: psycopg.Connection[Any], aggregate: str, table: str, id: str) -> None:
    """What whoever changes state by hand has to add."""
    connection.execute(
        sql.SQL(
            "INSERT INTO directory.events (event_id, tenant_id, aggregate_type, aggregate_id, aggregate_version, "
            "event_type, schema_version, after, effective_at, occurred_at, actor_type, actor_id, correlation_id, "
            "request_id, origin) SELECT %s, tenant_id, %s, id, version, %s, 1, to_jsonb(s), now(), now(), 'operator', "
            "'dba', %s, 'ticket-1', 'correction' FROM {} AS s WHERE id = %s"
        ).format(sql.Identifier("directory", table)),
        (uuid4(), aggregate, f"{aggregate}.corrected", uuid4(), id),
    )


@pytest.mark.parametrize("table", STATE_TABLES)
def test_an_update_by_hand_without_its_event_is_refused_at_commit(table: str, admin: psycopg.Connection[Any]) -> None:
    version = "user_version" if table == "directory.login_identifiers" else "version"
    update = sql.SQL("UPDATE {} SET {version} = {version} + 1").format(
        sql.Identifier(*table.split(".")), version=sql.Identifier(version)
    )

    assert admin.execute(update).rowcount == 2
    with pytest.raises(pg.IntegrityConstraintViolation, match="has no event"):
        admin.commit()


def test_an_update_by_hand_that_keeps_the_version_is_refused_at_commit(
    admin: psycopg.Connection[Any],
) -> None:
    assert admin.execute("UPDATE directory.users SET status = 'active'").rowcount == 2

    with pytest.raises(pg.IntegrityConstraintViolation, match="has no event"):
        admin.commit()


def test_an_update_by_hand_with_its_event_is_committed(api: Api, platform: Platform) -> None:
    api.found()
    id = api.user()["id"]

    with psycopg.connect(platform.admin_dsn) as admin:
        admin.execute("UPDATE directory.users SET status = 'active', version = version + 1 WHERE id = %s", (id,))
        _insert_event(admin, "user", "users", id)

    now = platform.rows("SELECT status, version FROM directory.users WHERE id = %s", id)
    assert now == [{"status": "active", "version": 2}]


@pytest.mark.parametrize("table", ["directory.memberships", "directory.role_grants", "asset.assignments"])
def test_a_deletion_by_hand_is_refused_at_commit(table: str, admin: psycopg.Connection[Any]) -> None:
    assert admin.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(*table.split(".")))).rowcount == 2

    with pytest.raises(pg.IntegrityConstraintViolation, match="DELETE on"):
        admin.commit()


def test_an_insert_by_hand_without_its_event_is_refused_at_commit(
    two_tenants: TwoTenants, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(
        "INSERT INTO directory.organisations (id, tenant_id, kind, name, kana, version) "
        "VALUES (%s, %s, 'area', '東', 'ヒガシ', 1)",
        (uuid4(), two_tenants.mine),
    )

    with pytest.raises(pg.IntegrityConstraintViolation, match="INSERT on directory"):
        admin.commit()


@pytest.mark.parametrize("events", ["directory.events", "asset.events", "auth.events"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET actor_id = 'somebody else'",
        "DELETE FROM {}",
        "DELETE FROM {} WHERE false",
        "TRUNCATE {}",
    ],
)
@pytest.mark.parametrize("role", [None, OWNER])
@pytest.mark.parametrize("replication_role", ["origin", "replica"])
def test_events_are_only_appended_even_by_a_superuser_and_the_owner(
    statement: LiteralString, events: str, role: str | None, replication_role: str, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(sql.SQL("SET LOCAL session_replication_role = {}").format(sql.Literal(replication_role)))
    if role is not None:
        admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))

    with pytest.raises(pg.RestrictViolation, match="append-only"):
        admin.execute(sql.SQL(statement).format(sql.Identifier(*events.split("."))))


@pytest.mark.parametrize("statement", ["UPDATE directory.events SET reason = 'x'", "DELETE FROM directory.events"])
def test_the_service_has_no_grant_to_change_events(statement: str, two_tenants: TwoTenants) -> None:
    with psycopg.connect(two_tenants.platform.dsn_of("directory")) as service, pytest.raises(pg.InsufficientPrivilege):
        service.execute(statement)


@pytest.mark.parametrize("table", STATE_TABLES)
def test_a_truncate_is_refused_to_everybody(table: str, admin: psycopg.Connection[Any]) -> None:
    with pytest.raises(pg.RestrictViolation, match="TRUNCATE of"):
        admin.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.Identifier(*table.split("."))))
