"""A reorganisation is all or nothing: what it refuses, who may ask for it, and who works on meanwhile."""

from __future__ import annotations

import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg.types.json import Jsonb

from infra.postgres import Postgres
from infra.state import StateFolder
from services.journal.verify import verify
from services.migrate.apply import migrate
from tests.conftest import Database
from tests.services.chains import TABLES, Chain, reorganise
from tests.services.conftest import PASSWORDS, Api, Assets, Platform, cloned, served
from tests.services.context import bind


@pytest.fixture
def chain(assets: Assets, platform: Platform) -> Chain:
    return Chain(assets, platform)


def test_who_belongs_to_both_sides_is_named_and_nothing_moves(chain: Chain) -> None:
    chain.do(
        f"/v1/users/{chain.users[0]['id']}/memberships",
        {"pharmacy_id": chain.pharmacies[1]["id"], "is_primary": False},
    )
    had = chain.counts()

    refused = chain.api.command(
        "/v1/tenant/split",
        {"name": "x", "kana": "x", "organisations": [chain.organisations[1]["id"]]},
        version=1,
    )

    assert refused.status_code == 409
    assert chain.users[0]["id"] in refused.json()["detail"]
    assert chain.counts() == had


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/tenant/merge", {"into": str(uuid4())}),
        ("/v1/tenant/split", {"name": "x", "kana": "x", "organisations": [str(uuid4())]}),
        ("/v1/pharmacies/{pharmacy}/hand-over", {"tenant_id": str(uuid4()), "organisation_id": str(uuid4())}),
    ],
)
def test_what_or_where_to_that_is_not_there_is_not_found(path: str, body: dict[str, Any], chain: Chain) -> None:
    refused = chain.api.command(path.format(pharmacy=chain.pharmacies[0]["id"]), body, version=1)

    assert refused.status_code == 404


def test_two_tenants_with_one_address_can_not_merge(chain: Chain, assets: Assets, platform: Platform) -> None:
    other = Chain(assets, platform)
    chain.api.tenant = chain.id
    chain.api.user(email="same@sakura.example")
    chain.api.tenant = other.id
    chain.api.user(email="same@sakura.example")
    chain.api.tenant = chain.id
    had = chain.counts()

    refused = chain.api.command("/v1/tenant/merge", {"into": other.id}, version=1)

    assert refused.status_code == 409
    assert "login_identifiers" in refused.json()["detail"]
    assert chain.counts() == had


def test_a_merged_tenant_takes_nothing_in_any_more(chain: Chain, assets: Assets, platform: Platform) -> None:
    other = Chain(assets, platform)
    chain.do("/v1/tenant/merge", {"into": other.id})
    chain.api.tenant = chain.assets.api.tenant = chain.id

    assert chain.api.command("/v1/organisations", {"name": "x", "kana": "x"}).status_code == 409
    assert chain.api.command("/v1/tenant/rename", {"name": "x", "kana": "x"}, version=2).status_code == 409
    assert chain.assets.api.command("/v1/contracts", {"number": "C", "starts_on": "2020-01-01"}).status_code == 409
    assert chain.api.command("/v1/tenant/merge", {"into": other.id}, version=2).status_code == 404


def test_directory_alone_can_not_move_a_pharmacy_away_from_its_devices(
    chain: Chain, assets: Assets, platform: Platform
) -> None:
    """All three schemas or none: the keys between them hold it at the commit, whoever forgets one."""
    other = Chain(assets, platform)
    plan = {"kind": "merge", "to": other.id, "actor_type": "operator", "actor_id": "x", "request_id": "x"}
    with psycopg.connect(platform.dsn_of("directory")) as connection:
        bind(connection, chain.id)
        connection.execute("SELECT directory.reorganise(%s)", (Jsonb({**plan, "correlation_id": str(uuid4())}),))

        with pytest.raises(pg.ForeignKeyViolation):
            connection.commit()


def test_only_the_bound_tenant_gives(chain: Chain, assets: Assets, platform: Platform) -> None:
    """A plan can't name whose things move, and without directory's part the others move nothing."""
    other = Chain(assets, platform)
    had = chain.counts()
    plan = Jsonb(
        {
            **{"kind": "merge", "from": chain.id, "to": other.id, "actor_type": "operator", "actor_id": "x"},
            **{"request_id": "x", "correlation_id": str(uuid4()), "pharmacies": [chain.pharmacies[0]["id"]]},
        }
    )
    for function in ("directory", "asset", "auth"):
        statement: LiteralString = f"SELECT {function}.reorganise(%s)"
        with psycopg.connect(platform.dsn_of("directory")) as connection, pytest.raises(pg.InvalidParameterValue):
            connection.execute(statement, (plan,))
    with psycopg.connect(platform.dsn_of("directory")) as connection:
        bind(connection, chain.id)
        connection.execute("SELECT asset.reorganise(%s)", (plan,))
        connection.execute("SELECT auth.reorganise(%s)", (plan,))
        connection.commit()

    assert chain.counts() == had
    for service in ("asset", "auth"):
        with psycopg.connect(platform.dsn_of(service)) as connection, pytest.raises(pg.InsufficientPrivilege):
            connection.execute("SELECT directory.reorganise(%s)", (plan,))


def test_an_open_row_refers_to_its_own_tenant_only(chain: Chain, assets: Assets, platform: Platform) -> None:
    other = Chain(assets, platform)
    with psycopg.connect(platform.dsn_of("directory")) as connection:
        bind(connection, chain.id)

        with pytest.raises(pg.ForeignKeyViolation, match="which tenant"):
            connection.execute(
                "INSERT INTO directory.memberships "
                "(id, tenant_id, user_id, pharmacy_id, is_primary, weekly_hours, valid_from, version) "
                "VALUES (%s, %s, %s, %s, false, 1, '2026-01-01', 1)",
                (uuid4(), chain.id, chain.users[0]["id"], other.pharmacies[0]["id"]),
            )


def test_whoever_works_on_while_tenants_merge_leaves_nothing_behind(
    chain: Chain, assets: Assets, platform: Platform
) -> None:
    """Commands before it move along, commands after it find nothing there; none is lost in between."""
    other = Chain(assets, platform)
    workers = [Api(chain.api.http, platform, tenant=chain.id) for _ in range(3)]
    together = threading.Barrier(4)

    def work(number: int) -> set[int]:
        together.wait(10)
        codes = set()
        for _ in range(12):
            codes.add(workers[number].command("/v1/organisations", {"name": "x", "kana": "x"}).status_code)
            user = chain.users[number % 2]["id"]
            body = {"role": "clerk", "pharmacy_id": chain.pharmacies[number % 2]["id"]}
            codes.add(workers[number].command(f"/v1/users/{user}/role-grants", body).status_code)
        return codes

    def merge() -> int:
        together.wait(10)
        api = Api(chain.api.http, platform, tenant=chain.id)
        return api.command("/v1/tenant/merge", {"into": other.id}, version=1).status_code

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, number) for number in range(3)]
        merging = pool.submit(merge)
        codes = set().union(*(future.result() for future in working))

    assert merging.result() == 200
    assert codes <= {201, 404, 409, 503}
    assert chain.counts() == dict.fromkeys(TABLES, 0)
    assert [compared for compared in verify(platform.admin_dsn) if compared.differing] == []


def test_it_may_take_longer_than_a_command(postgres: Postgres, template: str) -> None:
    with cloned(postgres, template) as platform:
        platform.database.execute(
            f"ALTER ROLE directory IN DATABASE {platform.database.name} SET statement_timeout = '3s'",
            "CREATE FUNCTION directory.slow() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN PERFORM pg_catalog.pg_sleep(4); RETURN NULL; END'",
            "CREATE TRIGGER slow AFTER UPDATE OF merged_into ON directory.tenants EXECUTE FUNCTION directory.slow()",
        )
        with served(platform) as api:
            into, giving = api.found(), api.found()

            merged = api.do("/v1/tenant/merge", {"into": into}, version=1)

    assert (merged["tenant_id"], merged["merged_into"]) == (giving, into)


def test_on_an_older_server_where_triggers_run_as_whoever_commits_it_is_the_same() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rireki-tests-"))
    folder.chmod(0o755)
    with StateFolder(folder) as state, Postgres.start(state, version=16, durable=False) as server:
        server.create_database("platform")
        migrate(server.dsn("platform"), PASSWORDS)
        platform = Platform(Database(server, "platform"))
        with served(platform) as api, served(platform, "asset") as asset:
            reorganise(Assets(Api(asset.http, platform), Api(api.http, platform)))

        assert [compared for compared in verify(platform.admin_dsn) if compared.differing] == []
        assert platform.rows("SELECT 1 AS x FROM directory.events WHERE event_type = 'pharmacy.rehomed' LIMIT 1")
    shutil.rmtree(folder, ignore_errors=True)
