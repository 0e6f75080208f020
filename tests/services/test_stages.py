"""Row security comes to a table in stages: what it would hide is seen first, with the query, and then hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors as pg

from pipelines.cli import run
from services.migrate.apply import OWNER
from services.shared.context import Context
from services.shared.transaction import Database
from tests.services.conftest import Platform, TwoTenants
from tests.services.context import bind

TABLE = "directory.users"


@pytest.fixture
def platform(two_tenants: TwoTenants) -> Iterator[Platform]:
    yield two_tenants.platform
    with _owner(two_tenants.platform) as owner:
        owner.execute("ALTER POLICY tenant ON directory.users USING (tenant_id = (SELECT rls.tenant()))")
        owner.execute("ALTER POLICY tenant ON directory.users WITH CHECK (tenant_id = (SELECT rls.tenant()))")
        owner.execute("DELETE FROM rls.stages")
        owner.execute("DELETE FROM rls.shadow_hits")
        owner.execute("DELETE FROM rls.shadow_log")


@contextmanager
def _owner(platform: Platform) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(platform.admin_dsn) as connection:
        connection.execute(f"SET LOCAL ROLE {OWNER}")
        yield connection


def _stage(platform: Platform, stage: str, quiet: str = "0") -> None:
    with _owner(platform) as owner:
        owner.execute("SELECT rls.set_stage(%s::regclass, %s, 'a test', %s::interval)", (TABLE, stage, quiet))


def _tenants(platform: Platform, tenant: str) -> set[str]:
    with psycopg.connect(platform.dsn_of("directory")) as service:
        bind(service, tenant)
        return {row[0] for row in service.execute("SELECT DISTINCT tenant_id::text FROM directory.users")}


def _hits(platform: Platform) -> list[dict[str, Any]]:
    return platform.rows("SELECT relation, login_role, query, hits FROM rls.shadow_hits ORDER BY first_at")


def _status(platform: Platform) -> dict[str, Any]:
    (row,) = platform.rows("SELECT * FROM rls.status() WHERE relation = %s", TABLE)
    return row


def test_in_observe_a_query_across_tenants_passes_and_is_counted_once_with_its_text(
    two_tenants: TwoTenants, platform: Platform
) -> None:
    _stage(platform, "observe")

    for _ in range(3):
        assert _tenants(platform, two_tenants.mine) == {two_tenants.mine, two_tenants.theirs}
    with psycopg.connect(platform.dsn_of("directory")) as service:  # what keeps to its tenant is no hit
        bind(service, two_tenants.mine)
        service.execute("SELECT * FROM directory.users WHERE tenant_id = %s", (two_tenants.mine,))

    assert _hits(platform) == [
        {
            "relation": TABLE,
            "login_role": "directory",
            "query": "SELECT DISTINCT tenant_id::text FROM directory.users",
            "hits": 3,
        }
    ]
    assert (_status(platform)["stage"], _status(platform)["hits"]) == ("observe", 3)
    assert platform.rows("SELECT * FROM rls.shadow_log") == []


def test_in_log_each_time_is_kept_with_both_tenants(two_tenants: TwoTenants, platform: Platform) -> None:
    _stage(platform, "log")

    for _ in range(2):
        _tenants(platform, two_tenants.mine)

    logged = platform.rows("SELECT relation, bound::text, wanted::text FROM rls.shadow_log")
    assert logged == [{"relation": TABLE, "bound": two_tenants.mine, "wanted": two_tenants.theirs}] * 2
    assert _status(platform)["stage"] == "log"


def test_in_enforce_nothing_of_another_tenant_passes(two_tenants: TwoTenants, platform: Platform) -> None:
    _stage(platform, "observe")
    _stage(platform, "enforce")

    assert _tenants(platform, two_tenants.mine) == {two_tenants.mine}
    assert _hits(platform) == []
    assert _status(platform)["stage"] == "enforce"


def test_a_write_for_another_tenant_passes_in_observe_and_is_counted(
    two_tenants: TwoTenants, platform: Platform
) -> None:
    keys = "directory.idempotency_keys"
    with _owner(platform) as owner:
        owner.execute("SELECT rls.set_stage(%s::regclass, 'observe', 'a test')", (keys,))
    insert = f"INSERT INTO {keys} (tenant_id, key, request_digest, status, answer) VALUES (%s, %s, 'x', 200, '{{}}')"
    with psycopg.connect(platform.dsn_of("directory")) as service:
        bind(service, two_tenants.mine)
        service.execute(insert.encode(), (two_tenants.theirs, str(uuid4())))

    assert [(hit["relation"], hit["hits"]) for hit in _hits(platform)] == [(keys, 1)]
    with _owner(platform) as owner:
        owner.execute("SELECT rls.set_stage(%s::regclass, 'enforce', 'a test', '0')", (keys,))
    with psycopg.connect(platform.dsn_of("directory")) as service, pytest.raises(pg.InsufficientPrivilege):
        bind(service, two_tenants.mine)
        service.execute(insert.encode(), (two_tenants.theirs, str(uuid4())))


def test_a_reading_transaction_that_may_not_write_is_recorded_by_the_door(
    two_tenants: TwoTenants, platform: Platform
) -> None:
    _stage(platform, "observe")
    database = Database(platform.dsn_of("directory"), max_connections=1, name="services.directory")
    database.open()
    try:
        with database.tenant_reading(Context(UUID(two_tenants.mine), "system", "t", "r", uuid4())) as reading:
            assert len(reading.rows("SELECT DISTINCT tenant_id FROM directory.users")) == 2
    finally:
        database.close()

    assert [(hit["query"], hit["hits"]) for hit in _hits(platform)] == [
        ("SELECT DISTINCT tenant_id FROM directory.users", 1)
    ]


def test_enforcing_waits_until_nothing_was_hit_for_long_enough(two_tenants: TwoTenants, platform: Platform) -> None:
    _stage(platform, "observe")
    with pytest.raises(pg.ObjectNotInPrerequisiteState, match="observed since"):
        _stage(platform, "enforce", "7 days")
    _tenants(platform, two_tenants.mine)
    with _owner(platform) as owner:
        owner.execute("UPDATE rls.stages SET since = since - interval '8 days'")
    with pytest.raises(pg.ObjectNotInPrerequisiteState, match="has 1 hits"):
        _stage(platform, "enforce", "7 days")
    with _owner(platform) as owner:
        owner.execute("UPDATE rls.shadow_hits SET last_at = last_at - interval '8 days'")

    _stage(platform, "enforce", "7 days")

    assert _status(platform)["stage"] == "enforce"


def test_the_command_shows_and_changes_stages(
    two_tenants: TwoTenants, platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLATFORM_DSN", platform.admin_dsn)

    def rls(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = run(["rls", *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    code, told = rls("status")
    assert (code, {row["stage"] for row in told["tables"]}) == (0, {"enforce"})
    assert len(told["tables"]) > 25
    assert rls("observe", TABLE, "--reason", "a pilot")[0] == 1
    _tenants(platform, two_tenants.mine)

    code, told = rls("status", TABLE)
    assert [(row["table"], row["stage"], row["hits"]) for row in told["tables"]] == [(TABLE, "observe", 1)]
    assert told["hits"][0]["query"] == "SELECT DISTINCT tenant_id::text FROM directory.users"
    code, told = rls("enforce", TABLE)
    assert (code, told["error"]["subject"]) == (2, TABLE)
    assert rls("observe", "directory.nothing")[0] == 2
    assert rls("observe", "asset.products")[0] == 2
    # The old hits still count, for they are younger than that; after a correction the operator may say so.
    with _owner(platform) as owner:
        owner.execute("DELETE FROM rls.shadow_hits")
    code, told = rls("enforce", TABLE, "--quiet-days", "0")

    assert (code, told["tables"][0]["stage"]) == (0, "enforce")


def test_a_service_can_put_no_table_into_a_stage(two_tenants: TwoTenants, platform: Platform) -> None:
    with psycopg.connect(platform.dsn_of("directory")) as service, pytest.raises(pg.InsufficientPrivilege):
        bind(service, two_tenants.mine)
        service.execute("SELECT rls.set_stage('directory.users', 'observe', 'x')")
