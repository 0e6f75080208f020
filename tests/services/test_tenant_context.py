"""SQL in a service's session, injected or careless, can't work for another tenant than the one that was bound."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors as pg

from services.migrate.apply import migrate
from services.shared.errors import StartupError
from services.shared.proof import ContextKey
from services.shared.transaction import Database
from tests.services.conftest import PASSWORD, PASSWORDS, Platform, TwoTenants
from tests.services.context import bind, key_of


@pytest.fixture
def service(two_tenants: TwoTenants) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(two_tenants.platform.dsn_of("directory")) as connection:
        yield connection
        connection.rollback()


def _seen(connection: psycopg.Connection[Any]) -> set[str]:
    return {row[0] for row in connection.execute("SELECT DISTINCT tenant_id::text FROM directory.users")}


def _set(connection: psycopg.Connection[Any], tenant: str, proof: str) -> None:
    connection.execute(
        "SELECT set_config('app.tenant_id', %s, true), set_config('app.tenant_proof', %s, true)", (tenant, proof)
    )


def _proof(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("SELECT current_setting('app.tenant_proof')").fetchone()
    assert row is not None
    return str(row[0])


def test_the_bound_tenant_is_seen_and_sql_that_sets_another_sees_nothing(
    two_tenants: TwoTenants, service: psycopg.Connection[Any]
) -> None:
    bind(service, two_tenants.mine)
    assert _seen(service) == {two_tenants.mine}
    mine = _proof(service)

    for proof in (mine, "", "x", f"{2**33}.{'0' * 64}", mine.upper(), mine + "0", f"9{mine}"):
        _set(service, two_tenants.theirs, proof)
        assert _seen(service) == set()
    _set(service, two_tenants.mine, mine)

    assert _seen(service) == {two_tenants.mine}


def test_a_proof_is_good_for_one_backend_one_role_and_a_while(
    two_tenants: TwoTenants, service: psycopg.Connection[Any]
) -> None:
    key, pid, tenant = key_of("directory"), service.info.backend_pid, UUID(two_tenants.theirs)

    for proof, believed in (
        (key.prove(pid, tenant), True),
        (key.prove(pid + 1, tenant), False),  # another connection's
        (key_of("asset").prove(pid, tenant), False),
        (ContextKey.of("directory", "another password").prove(pid, tenant), False),
        (key.prove(pid, tenant, lambda: time.time() - 3600), False),
    ):
        _set(service, two_tenants.theirs, proof)
        assert bool(_seen(service)) is believed


def test_no_role_that_logs_in_can_read_the_keys_or_call_a_definer_function_that_tells_them(
    two_tenants: TwoTenants, service: psycopg.Connection[Any]
) -> None:
    with pytest.raises(pg.InsufficientPrivilege):
        service.execute("SELECT * FROM rls.context_keys")
    service.rollback()

    granted = two_tenants.platform.rows(
        "SELECT grantee FROM information_schema.table_privileges WHERE table_schema = 'rls' "
        "AND table_name = 'context_keys' AND grantee <> 'platform_owner'"
    )
    assert granted == []


DEFINERS = {
    "auth.find_login": "auth_login",
    "directory.reorganise": "directory_reorg",
    "asset.reorganise": "asset_reorg",
    "auth.reorganise": "auth_reorg",
    "auth.forget_upstream_secret": "platform_owner",
    "rls.tenant": "platform_owner",
    "rls.record_hit": "platform_owner",
    "rls.break_glass": "platform_owner",
    "rls.glass_broken": "platform_owner",
}


def test_functions_that_run_with_anothers_rights_are_these_and_find_nothing_by_accident(platform: Platform) -> None:
    found = platform.rows(
        "SELECT n.nspname || '.' || p.proname AS name, pg_get_userbyid(p.proowner) AS owner, p.proconfig AS settings "
        "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE p.prosecdef AND n.nspname NOT LIKE 'pg\\_%%'"
    )

    assert {row["name"]: row["owner"] for row in found} == DEFINERS
    assert [row["name"] for row in found if 'search_path=""' not in (row["settings"] or [])] == []


def test_a_service_whose_proofs_are_not_believed_does_not_start(platform: Platform) -> None:
    with psycopg.connect(platform.admin_dsn, autocommit=True) as admin:
        admin.execute("DELETE FROM rls.context_keys WHERE role = 'asset'")
    database = Database(platform.dsn_of("asset"), max_connections=1, name="test")

    with pytest.raises(StartupError, match="tenant context") as refused:
        database.open()

    assert "ASSET_PASSWORD" in refused.value.fix
    migrate(platform.admin_dsn, PASSWORDS)
    database = Database(platform.dsn_of("asset"), max_connections=1, name="test")
    database.open()
    database.close()


def test_a_new_password_leaves_the_one_before_good_until_the_next(platform: Platform) -> None:
    def keys() -> set[bytes]:
        return {
            bytes(row["inner_key"])
            for row in platform.rows("SELECT inner_key FROM rls.context_keys WHERE role = 'directory'")
        }

    def key(password: str) -> bytes:
        return ContextKey.of("directory", password).padded[0]

    for password in ("second", "third"):
        migrate(platform.admin_dsn, {**PASSWORDS, "directory": password})
    assert keys() == {key("second"), key("third")}
    migrate(platform.admin_dsn, PASSWORDS)

    assert keys() == {key("third"), key(PASSWORD)}
