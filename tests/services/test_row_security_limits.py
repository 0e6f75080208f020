"""What row security doesn't do by itself, and what holds there instead: COPY, and unique constraints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from tests.services import matrix
from tests.services.conftest import TwoTenants
from tests.services.context import bind

# What is unique in the whole system although people choose it, and so tells that somebody has it. A slug is typed on
# the login page before anybody knows a tenant; it is no secret.
SHARED_NAMES = {"auth.upstreams_slug"}


@pytest.fixture
def admin(two_tenants: TwoTenants) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(two_tenants.platform.admin_dsn) as connection:
        yield connection
        connection.rollback()


def _granted(admin: psycopg.Connection[Any], privilege: str) -> list[tuple[str, str]]:
    """Role and table, for whole tables that have a tenant."""
    return [
        (role, table)
        for table in matrix.tables(admin)
        for role in matrix.ROLES
        if admin.execute("SELECT has_table_privilege(%s, %s, %s)", (role, table, privilege)).fetchone() == (True,)
    ]


def _relation(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))


def _copied(admin: psycopg.Connection[Any], role: str, table: str, tenant: str | None) -> set[str]:
    """Whose rows COPY TO hands out to a role while ``tenant`` is bound."""
    with admin.transaction(force_rollback=True):
        bind(admin, tenant)
        admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        with admin.cursor().copy(sql.SQL("COPY {} (tenant_id) TO STDOUT").format(_relation(table))) as copy:
            return {str(row[0]) for row in copy.rows()}


def test_a_role_copies_its_tenants_rows_out_and_no_others(
    two_tenants: TwoTenants, admin: psycopg.Connection[Any]
) -> None:
    readable = _granted(admin, "SELECT")
    assert len({table for _, table in readable}) >= 15

    for role, table in readable:
        if admin.execute(
            "SELECT has_schema_privilege(%s, %s, 'USAGE')", (role, table.partition(".")[0])
        ).fetchone() == (True,):
            assert _copied(admin, role, table, two_tenants.mine) == {two_tenants.mine}, (role, table)
            assert _copied(admin, role, table, None) == set(), (role, table)


def test_nothing_is_copied_into_a_table_past_its_policy(
    two_tenants: TwoTenants, admin: psycopg.Connection[Any]
) -> None:
    """PostgreSQL can't check rows of COPY FROM against a policy, so it refuses the statement."""
    writable = _granted(admin, "INSERT")
    assert len({table for _, table in writable}) >= 15

    for role, table in writable:
        into = sql.SQL("COPY {} (tenant_id) FROM STDIN").format(_relation(table))
        with pytest.raises(pg.FeatureNotSupported, match="row-level security"), admin.transaction(force_rollback=True):
            bind(admin, two_tenants.mine)
            admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            admin.execute(into)


def test_it_is_the_policy_that_keeps_copies_out(two_tenants: TwoTenants, admin: psycopg.Connection[Any]) -> None:
    admin.execute("ALTER TABLE directory.users NO FORCE ROW LEVEL SECURITY")
    admin.execute("ALTER TABLE directory.users DISABLE ROW LEVEL SECURITY")
    admin.execute("SET LOCAL ROLE directory")

    copying = admin.cursor().copy("COPY directory.users (tenant_id) FROM STDIN")
    with pytest.raises(pg.NotNullViolation), copying as copy:  # let in, and found to lack an id
        copy.write_row([two_tenants.mine])


def test_a_value_that_people_choose_is_unique_within_its_tenant_only(admin: psycopg.Connection[Any]) -> None:
    """A clash tells that somebody has that value. Across tenants only what nobody can guess may clash: a random id, or
    the hash of a random secret, alone."""
    revealing = {
        str(index)
        for index, types in admin.execute(
            """
            SELECT i.indexrelid::regclass::text, array_agg(format_type(a.atttypid, NULL))
            FROM pg_index AS i
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
            WHERE i.indisunique AND i.indrelid = ANY(%s::regclass[])
            GROUP BY 1, i.indexprs HAVING NOT 'tenant_id' = ANY(array_agg(a.attname::text)) OR i.indexprs IS NOT NULL
            """,
            (matrix.tables(admin),),
        )
        if types not in (["uuid"], ["bytea"])
    }

    assert revealing == SHARED_NAMES
