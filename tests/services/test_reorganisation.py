"""Tenants merge and split, pharmacies change hands: all or nothing, and the events tell it."""

from __future__ import annotations

import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg.types.json import Jsonb

from infra.postgres import Postgres
from infra.state import StateFolder
from services.asset import events as asset
from services.directory import events as directory
from services.journal.verify import verify
from services.migrate.apply import migrate
from tests.conftest import Database
from tests.services.auth.rows import open_account
from tests.services.conftest import PASSWORDS, Api, Assets, Platform, cloned, served
from tests.services.context import bind

CORRELATION = "00000000-0000-4000-8000-0000000000aa"
TABLES = (
    *("directory.organisations", "directory.pharmacies", "directory.pharmacy_codes", "directory.users"),
    *("directory.login_identifiers", "directory.memberships", "directory.role_grants"),
    *("asset.contracts", "asset.licenses", "asset.devices", "asset.assignments", "auth.accounts", "auth.factors"),
)


class Chain:
    """Two organisations with a pharmacy each; in each a user with a role, a device and seats for both."""

    def __init__(self, assets: Assets, platform: Platform) -> None:
        self.assets, self.api, self.platform = assets, assets.directory, platform
        self.id = assets.found()
        self.organisations = [self.api.organisation() for _ in range(2)]
        self.pharmacies, self.users, self.devices, self.seats = [], [], [], []
        license = assets.license(10)
        scanners = assets.license(10, "dispensing_audit")
        for number, organisation in enumerate(self.organisations):
            pharmacy = self.api.pharmacy(
                organisation, code=f"{int(uuid4()) % 10**10:010d}", code_valid_from="2001-04-01"
            )
            user = self.api.do(f"/v1/users/{self.api.user()['id']}/activate", version=1)
            self.api.do(f"/v1/users/{user['id']}/memberships", {"pharmacy_id": pharmacy["id"]})
            self.api.do(f"/v1/users/{user['id']}/role-grants", {"role": "manager", "pharmacy_id": pharmacy["id"]})
            if number == 1:
                self.api.do(f"/v1/users/{user['id']}/role-grants", {"role": "auditor"})
            device = assets.device(pharmacy["id"])
            self.seats += [assets.assign(license, user_id=user["id"]), assets.assign(scanners, device_id=device["id"])]
            open_account(platform.database, self.id, user["id"])
            self.pharmacies.append(pharmacy)
            self.users.append(user)
            self.devices.append(device)

    def do(self, path: str, body: dict[str, Any], *, version: int = 1, **more: Any) -> dict[str, Any]:
        self.api.tenant = self.id
        return self.api.do(path, body, version=version, **more)

    def counts(self) -> dict[str, int]:
        return {table: self.platform.count(table, self.id) for table in TABLES}


@pytest.fixture
def chain(assets: Assets, platform: Platform) -> Chain:
    return Chain(assets, platform)


def _events(platform: Platform, correlation: str) -> list[dict[str, Any]]:
    return platform.rows(
        "SELECT * FROM (SELECT * FROM directory.events UNION ALL SELECT * FROM asset.events "
        "UNION ALL SELECT * FROM auth.events) AS e WHERE correlation_id = %s ORDER BY recorded_at",
        correlation,
    )


def _seen(platform: Platform, service: str, table: LiteralString, tenant: str, id: str) -> bool:
    with psycopg.connect(platform.dsn_of(service)) as connection:
        bind(connection, tenant)
        return connection.execute(f"SELECT id FROM {table} WHERE id = %s", (id,)).fetchone() is not None


def test_a_merger_moves_everything_of_three_schemas_and_tells_each_under_one_correlation(
    chain: Chain, assets: Assets, platform: Platform
) -> None:
    had = chain.counts()
    other = Chain(assets, platform)
    before = other.counts()

    merged = chain.do(
        "/v1/tenant/merge",
        {"into": other.id, "reason": "合併", "effective_at": "2026-04-01T00:00:00+09:00"},
        headers={"X-Correlation-Id": CORRELATION},
    )

    assert merged["merged_into"] == other.id
    assert chain.counts() == dict.fromkeys(TABLES, 0)
    assert other.counts() == {table: before[table] + had[table] for table in TABLES}
    events = _events(platform, CORRELATION)
    moved = {name: had[f"{name}"] for name in TABLES if name != "directory.login_identifiers"}
    told = [event for event in events if event["event_type"].endswith(".rehomed")]
    assert len(told) == sum(moved.values())
    assert {str(event["tenant_id"]) for event in told} == {other.id}
    assert {event["changed"]["tenant_id"]["from"] for event in told} == {chain.id}
    assert {event["event_type"] for event in events if event not in told} == {
        *("tenant.merged", "role.revoked", "session.ended", "grant.revoked"),
    }
    assert {(event["actor_id"], event["reason"]) for event in events} == {("operator:sato", "合併")}
    # Back-dated in effect, and yet recorded when it was: the two times stay apart.
    assert {event["effective_at"].isoformat() for event in events} == {"2026-03-31T15:00:00+00:00"}
    assert all(event["recorded_at"] > event["effective_at"] for event in events)


def test_a_split_takes_organisations_with_all_that_hangs_on_them(chain: Chain, platform: Platform) -> None:
    staying, going = range(2)

    new = chain.do(
        "/v1/tenant/split",
        {"name": "分割後", "kana": "ブンカツゴ", "organisations": [chain.organisations[going]["id"]]},
        headers={"X-Correlation-Id": CORRELATION[:-1] + "b"},
    )

    for service, table, rows in (
        ("directory", "directory.organisations", chain.organisations),
        ("directory", "directory.pharmacies", chain.pharmacies),
        ("directory", "directory.users", chain.users),
        ("asset", "asset.devices", chain.devices),
    ):
        for tenant, number in ((chain.id, staying), (new["tenant_id"], going)):
            assert _seen(platform, service, table, tenant, rows[number]["id"])
            assert not _seen(platform, service, table, tenant, rows[1 - number]["id"])
    seats = {str(row["id"]): row for row in platform.rows("SELECT * FROM asset.assignments WHERE released_at IS NULL")}
    assert [seat["id"] in seats for seat in chain.seats] == [True, True, False, False]
    roles = platform.rows(
        "SELECT role, tenant_id::text, revoked_at IS NULL AS open FROM directory.role_grants WHERE user_id = %s "
        "ORDER BY role",
        chain.users[going]["id"],
    )
    # The role in the whole tenant ended where it was; the one in the pharmacy went along.
    assert [(row["role"], row["tenant_id"], row["open"]) for row in roles] == [
        ("auditor", chain.id, False),
        ("manager", new["tenant_id"], True),
    ]


def test_a_pharmacy_handed_over_takes_along_its_devices_and_who_works_there_only(
    chain: Chain, assets: Assets, platform: Platform
) -> None:
    other = Chain(assets, platform)
    pharmacy = chain.pharmacies[0]
    left = chain.api
    left.tenant = chain.id
    past = chain.api.user()
    ended = chain.do(f"/v1/users/{past['id']}/memberships", {"pharmacy_id": pharmacy["id"], "valid_from": "2020-01-01"})
    chain.do(f"/v1/memberships/{ended['id']}/end", {"valid_to": "2024-03-31"})

    state = chain.do(
        f"/v1/pharmacies/{pharmacy['id']}/hand-over",
        {"tenant_id": other.id, "organisation_id": other.organisations[0]["id"], "reason": "事業譲渡"},
    )

    assert (state["tenant_id"], state["organisation_id"]) == (other.id, other.organisations[0]["id"])
    assert _seen(platform, "asset", "asset.devices", other.id, chain.devices[0]["id"])
    assert _seen(platform, "directory", "directory.users", other.id, chain.users[0]["id"])
    # Whoever worked there once stays, and so does the record of it.
    assert _seen(platform, "directory", "directory.users", chain.id, past["id"])
    assert _seen(platform, "directory", "directory.memberships", chain.id, ended["id"])
    chain.api.tenant = other.id
    assert chain.api.get(f"/v1/pharmacies/{pharmacy['id']}/codes").json()["items"] != []
    chain.api.do(
        f"/v1/pharmacies/{pharmacy['id']}/designate", {"code": "2799999999", "valid_from": "2026-04-01"}, version=2
    )


def reorganise(assets: Assets) -> Chain:
    """A split, a pharmacy handed over to the new tenant, and a merger of what stayed; the chain it was done to."""
    chain, other, third = (Chain(assets, assets.platform) for _ in range(3))
    new = chain.do(
        "/v1/tenant/split",
        {"name": "分割後", "kana": "ブンカツゴ", "organisations": [chain.organisations[1]["id"]]},
    )
    third.do(
        f"/v1/pharmacies/{third.pharmacies[0]['id']}/hand-over",
        {"tenant_id": new["tenant_id"], "organisation_id": chain.organisations[1]["id"]},
    )
    chain.do("/v1/tenant/merge", {"into": other.id}, version=2)
    return third


def test_replayed_events_are_the_state_after_every_reorganisation(assets: Assets, platform: Platform) -> None:
    third = reorganise(assets)

    assert [compared for compared in verify(platform.admin_dsn) if compared.differing] == []
    history = platform.rows(
        "SELECT event_type, tenant_id::text FROM directory.events WHERE aggregate_id = %s ORDER BY aggregate_version",
        third.pharmacies[0]["id"],
    )
    # Events keep the tenant that they were written under.
    assert [row["event_type"] for row in history] == ["pharmacy.registered", "pharmacy.rehomed"]
    assert [row["tenant_id"] == third.id for row in history] == [True, False]


@pytest.mark.parametrize("service", [directory, asset], ids=["directory", "asset"])
def test_what_the_database_tells_is_declared_at_its_newest_version(
    service: ModuleType, assets: Assets, platform: Platform
) -> None:
    """The functions write their events in SQL: a column that they don't know of would make them lie."""
    reorganise(assets)

    versions = {event.name: event.schema_version for event in service.ALL}
    schema = service.__name__.split(".")[1]
    written = platform.rows(
        f"SELECT DISTINCT event_type, schema_version FROM {schema}.events "
        "WHERE correlation_id IN (SELECT correlation_id FROM directory.events WHERE event_type = 'user.rehomed')"
    )
    assert {event.name for event in service.REORGANISED} <= {row["event_type"] for row in written}
    assert {row["event_type"]: row["schema_version"] for row in written}.items() <= versions.items()


def test_everybody_who_moves_logs_in_anew_with_what_they_have(chain: Chain, assets: Assets, platform: Platform) -> None:
    other = Chain(assets, platform)
    user = chain.users[0]["id"]

    chain.do("/v1/tenant/merge", {"into": other.id})

    def tenants(table: LiteralString, column: LiteralString, id: str) -> list[str]:
        return [str(r["tenant_id"]) for r in platform.rows(f"SELECT tenant_id FROM {table} WHERE {column} = %s", id)]

    factor = str(platform.rows("SELECT id FROM auth.factors WHERE user_id = %s", user)[0]["id"])
    for table in ("auth.passwords", "auth.enrolments"):
        assert tenants(table, "user_id", user) == [other.id]
    for table in ("auth.totp_seeds", "auth.webauthn_credentials", "auth.recovery_codes"):
        assert tenants(table, "factor_id", factor) == [other.id]
    for table in ("auth.subject_keys", "auth.event_secrets"):
        assert tenants(table, "subject_id", user) == [other.id]
    sessions = platform.rows("SELECT tenant_id::text, ended_by FROM auth.sessions WHERE user_id = %s", user)
    grants = platform.rows("SELECT tenant_id::text, revoked_by FROM auth.grants WHERE user_id = %s", user)
    assert sessions == [{"tenant_id": chain.id, "ended_by": "operator"}]
    assert grants == [{"tenant_id": chain.id, "revoked_by": "session_ended"}]


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
