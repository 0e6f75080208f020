"""Tenants merge and split, pharmacies change hands: what moves, and how the events tell it."""

from __future__ import annotations

from datetime import datetime
from types import ModuleType
from typing import Any, LiteralString
from uuid import UUID

import pytest

from services.asset import events as asset
from services.directory import events as directory
from services.directory.upcasters import UPCASTERS
from services.journal import read
from services.journal.fold import fold
from services.journal.verify import verify
from tests.services.chains import TABLES, Chain, reorganise, seen
from tests.services.conftest import Assets, Platform

CORRELATION = "00000000-0000-4000-8000-0000000000aa"


@pytest.fixture
def chain(assets: Assets, platform: Platform) -> Chain:
    return Chain(assets, platform)


def _events(platform: Platform, correlation: str) -> list[dict[str, Any]]:
    return platform.rows(
        "SELECT * FROM (SELECT * FROM directory.events UNION ALL SELECT * FROM asset.events "
        "UNION ALL SELECT * FROM auth.events) AS e WHERE correlation_id = %s ORDER BY recorded_at",
        correlation,
    )


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
            assert seen(platform, service, table, tenant, rows[number]["id"])
            assert not seen(platform, service, table, tenant, rows[1 - number]["id"])
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
    assert seen(platform, "asset", "asset.devices", other.id, chain.devices[0]["id"])
    assert seen(platform, "directory", "directory.users", other.id, chain.users[0]["id"])
    # Whoever worked there once stays, and so does the record of it.
    assert seen(platform, "directory", "directory.users", chain.id, past["id"])
    assert seen(platform, "directory", "directory.memberships", chain.id, ended["id"])
    chain.api.tenant = other.id
    assert chain.api.get(f"/v1/pharmacies/{pharmacy['id']}/codes").json()["items"] != []
    chain.api.do(
        f"/v1/pharmacies/{pharmacy['id']}/designate", {"code": "2799999999", "valid_from": "2026-04-01"}, version=2
    )


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


def test_a_back_dated_merger_counts_from_its_day_as_soon_as_it_is_known(assets: Assets, platform: Platform) -> None:
    into = assets.found()
    giving = assets.found()
    since = {"effective_at": "2020-04-01T00:00:00+09:00"}
    pharmacy = assets.directory.pharmacy(assets.directory.organisation(), **since)
    (before,) = platform.rows("SELECT clock_timestamp() AS now")
    assets.directory.tenant = giving
    assets.directory.do("/v1/tenant/merge", {"into": into, "effective_at": "2026-04-01T00:00:00+09:00"}, version=1)
    with read.snapshot(platform.admin_dsn) as connection:
        events = list(read.events(connection, directory.PHARMACY, UUID(pharmacy["id"])))

    def tenant(valid_at: str, known_at: datetime | None = None) -> str | None:
        told = fold(events, UPCASTERS, valid_at=datetime.fromisoformat(valid_at), known_at=known_at)
        return next((state["tenant_id"] for _, state in told), None)

    assert tenant("2019-01-01T00:00+09:00") is None
    assert tenant("2026-03-31T23:59+09:00") == giving
    assert tenant("2026-04-01T00:00+09:00") == into
    assert tenant("2026-04-01T00:00+09:00", known_at=before["now"]) == giving  # nobody knew yet


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
