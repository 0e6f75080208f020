"""Each command: its state, its events, and who and why, in one transaction."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from services.directory import events
from tests.services.conftest import Api, Platform

CORRELATION = "00000000-0000-4000-8000-00000000000a"


@dataclass
class SeenTransaction:
    """What pgoutput says of one transaction: its messages, and table → rows written."""

    messages: list[tuple[str, Any]] = field(default_factory=list)
    writes: dict[str, int] = field(default_factory=dict)


class Slot:
    """A logical slot on the platform's database; ``transactions()`` are those since it was made."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        connection.execute("SELECT pg_create_logical_replication_slot('seen', 'pgoutput', true)")

    def transactions(self) -> list[SeenTransaction]:
        raw = self._connection.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes('seen', NULL, NULL, "
            "'proto_version', '1', 'publication_names', 'everything', 'messages', 'true')"
        ).fetchall()
        seen: list[SeenTransaction] = []
        names: dict[int, str] = {}
        for (data,) in raw:
            kind = chr(data[0])
            if kind == "B":
                seen.append(SeenTransaction())
            elif kind == "R":
                (oid,) = struct.unpack_from(">I", data, 1)
                schema, table, _ = data[5:].split(b"\0", 2)
                names[oid] = f"{schema.decode()}.{table.decode()}"
            elif kind in "IUD":
                (oid,) = struct.unpack_from(">I", data, 1)
                seen[-1].writes[names[oid]] = seen[-1].writes.get(names[oid], 0) + 1
            elif kind == "M":
                prefix, rest = data[10:].split(b"\0", 1)
                seen[-1].messages.append((prefix.decode(), json.loads(rest[4:])))
        return seen


@pytest.fixture
def slot(platform: Platform) -> Iterator[Slot]:
    with psycopg.connect(platform.admin_dsn, autocommit=True) as connection:
        yield Slot(connection)
        connection.execute("SELECT pg_drop_replication_slot('seen')")
        connection.execute("DROP PUBLICATION everything")


@dataclass(frozen=True)
class Case:
    """``prepare`` makes what the command needs and gives its path, body and version."""

    prepare: Callable[[Api], tuple[str, dict[str, Any], int | None]]
    writes: dict[str, int]
    events: list[str]


def _member(api: Api) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A user with one membership and one role; the user, the membership, the grant."""
    pharmacy = api.pharmacy(api.organisation())
    user = api.user()
    membership = api.do(f"/v1/users/{user['id']}/memberships", {"pharmacy_id": pharmacy["id"]})
    grant = api.do(f"/v1/users/{user['id']}/role-grants", {"role": "manager", "pharmacy_id": pharmacy["id"]})
    return user, membership, grant


def _activated(api: Api) -> dict[str, Any]:
    return api.do(f"/v1/users/{api.user()['id']}/activate", version=1)


def _pharmacy_body(api: Api) -> dict[str, Any]:
    return {
        "organisation_id": api.organisation()["id"],
        "name": "さくら薬局 梅田店",
        "kana": "サクラヤッキョク ウメダテン",
        "prefecture": "大阪府",
        "opened_on": "2011-11-01",
        "code": "2701234567",
        "code_valid_from": "2011-11-01",
        "dispensing_area_m2": "32.50",
        "opening_hours": {"mon": ["09:00", "18:30"]},
        "services": ["home_visit"],
    }


CASES: dict[str, Case] = {
    "register organisation": Case(
        lambda api: ("/v1/organisations", {"name": "関西支社", "kana": "カンサイシシャ", "kind": "area"}, None),
        {"directory.organisations": 1},
        ["organisation.registered"],
    ),
    "rename organisation": Case(
        lambda api: (f"/v1/organisations/{api.organisation()['id']}/rename", {"name": "新", "kana": "シン"}, 1),
        {"directory.organisations": 1},
        ["organisation.renamed"],
    ),
    "register pharmacy": Case(
        lambda api: ("/v1/pharmacies", _pharmacy_body(api), None),
        {"directory.pharmacies": 1, "directory.pharmacy_codes": 1},
        ["pharmacy.registered", "pharmacy_code.designated"],
    ),
    "transfer pharmacy": Case(
        lambda api: (
            f"/v1/pharmacies/{api.pharmacy(api.organisation())['id']}/transfer",
            {"organisation_id": api.organisation()["id"], "code": "1301234567", "code_valid_from": "2026-04-01"},
            1,
        ),
        {"directory.pharmacies": 1, "directory.pharmacy_codes": 1},
        ["pharmacy.transferred", "pharmacy_code.designated"],
    ),
    "designate pharmacy": Case(
        lambda api: (
            f"/v1/pharmacies/{api.pharmacy(api.organisation())['id']}/designate",
            {"code": "1301234567", "valid_from": "2026-04-01"},
            1,
        ),
        {"directory.pharmacies": 1, "directory.pharmacy_codes": 1},
        ["pharmacy.designated", "pharmacy_code.designated"],
    ),
    "rename pharmacy": Case(
        lambda api: (
            f"/v1/pharmacies/{api.pharmacy(api.organisation())['id']}/rename",
            {"name": "新", "kana": "シン"},
            1,
        ),
        {"directory.pharmacies": 1},
        ["pharmacy.renamed"],
    ),
    "close pharmacy": Case(
        lambda api: (f"/v1/pharmacies/{_member(api)[1]['pharmacy_id']}/close", {"closed_on": "2099-03-31"}, 1),
        {"directory.pharmacies": 1, "directory.memberships": 1, "directory.role_grants": 1},
        ["pharmacy.closed", "membership.ended", "role.revoked"],
    ),
    "move organisation": Case(
        lambda api: (f"/v1/organisations/{api.organisation()['id']}/move", {"parent_id": api.organisation()["id"]}, 1),
        {"directory.organisations": 1},
        ["organisation.moved"],
    ),
    "close organisation": Case(
        lambda api: (f"/v1/organisations/{api.organisation()['id']}/close", {}, 1),
        {"directory.organisations": 1},
        ["organisation.closed"],
    ),
    "rename tenant": Case(
        lambda api: ("/v1/tenant/rename", {"name": "新", "kana": "シン"}, 1),
        {"directory.tenants": 1},
        ["tenant.renamed"],
    ),
    "rename user": Case(
        lambda api: (f"/v1/users/{api.user()['id']}/rename", {"name": "林 陽子", "kana": "ハヤシ ヨウコ"}, 1),
        {"directory.users": 1},
        ["user.renamed"],
    ),
    "identify user": Case(
        lambda api: (f"/v1/users/{api.user()['id']}/identify", {"email": "new@sakura.example"}, 1),
        {"directory.users": 1, "directory.login_identifiers": 1},
        ["user.identified"],
    ),
    "invite user": Case(
        lambda api: (
            "/v1/users",
            {"name": "鈴木 蓮", "kana": "スズキ レン", "email": "REN@sakura.example", "is_pharmacist": False},
            None,
        ),
        {"directory.users": 1, "directory.login_identifiers": 1},
        ["user.invited"],
    ),
    "activate user": Case(
        lambda api: (f"/v1/users/{api.user()['id']}/activate", {}, 1),
        {"directory.users": 1},
        ["user.activated"],
    ),
    "suspend user": Case(
        lambda api: (f"/v1/users/{_activated(api)['id']}/suspend", {}, 2),
        {"directory.users": 1},
        ["user.suspended"],
    ),
    "retire user": Case(
        lambda api: (f"/v1/users/{_member(api)[0]['id']}/retire", {"retired_on": "2099-03-31"}, 1),
        {"directory.users": 1, "directory.memberships": 1, "directory.role_grants": 1},
        ["user.retired", "membership.ended", "role.revoked"],
    ),
    "assign membership": Case(
        lambda api: (f"/v1/users/{api.user()['id']}/memberships", {"organisation_id": api.organisation()["id"]}, None),
        {"directory.memberships": 1},
        ["membership.assigned"],
    ),
    "transfer membership": Case(
        lambda api: (
            f"/v1/memberships/{_member(api)[1]['id']}/transfer",
            {"organisation_id": api.organisation()["id"]},
            1,
        ),
        {"directory.memberships": 2},
        ["membership.assigned", "membership.ended"],
    ),
    "end membership": Case(
        lambda api: (f"/v1/memberships/{_member(api)[1]['id']}/end", {}, 1),
        {"directory.memberships": 1},
        ["membership.ended"],
    ),
    "grant role": Case(
        lambda api: (f"/v1/users/{api.user()['id']}/role-grants", {"role": "auditor"}, None),
        {"directory.role_grants": 1},
        ["role.granted"],
    ),
    "revoke role": Case(
        lambda api: (f"/v1/role-grants/{_member(api)[2]['id']}/revoke", {}, 1),
        {"directory.role_grants": 1},
        ["role.revoked"],
    ),
    "create tenant": Case(
        lambda api: ("/v1/tenants", {"name": "みどり薬局", "kana": "ミドリヤッキョク"}, None),
        {"directory.tenants": 1},
        ["tenant.created"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_command_writes_state_events_who_and_why_in_one_transaction(name: str, api: Api, slot: Slot) -> None:
    case = CASES[name]
    api.found()
    path, body, version = case.prepare(api)
    slot.transactions()

    response = api.command(
        path,
        {**body, "reason": "試験のため"},
        version=version,
        headers={
            "X-Request-Id": "req-7",
            "X-Actor-Type": "user",
            "X-Correlation-Id": CORRELATION,
        },
    )

    assert response.status_code in (200, 201), response.text
    (transaction,) = slot.transactions()
    assert transaction.messages == [
        (
            "rireki.context",
            {
                "actor": "operator:sato",
                "actor_type": "user",
                "request_id": "req-7",
                "reason": "試験のため",
                "correlation_id": CORRELATION,
            },
        )
    ]
    assert transaction.writes == {
        **case.writes,
        "directory.events": len(case.events),
        "directory.idempotency_keys": 1,
    }
    assert [event["event_type"] for event in response.json()["events"]] == case.events


def test_every_event_type_is_written_by_some_command() -> None:
    written = {name for case in CASES.values() for name in case.events}

    assert written == {event.name for event in events.ALL if event not in events.REORGANISED}


@pytest.mark.parametrize("name", CASES)
def test_an_event_carries_the_state_after_it_as_the_table_has_it(name: str, api: Api, platform: Platform) -> None:
    case = CASES[name]
    api.found()
    path, body, version = case.prepare(api)

    response = api.command(path, {**body, "effective_at": "2026-04-01T00:00:00+09:00"}, version=version)

    assert response.status_code in (200, 201), response.text
    declared = {event.name: event for event in events.ALL}
    for told in response.json()["events"]:
        aggregate = declared[told["event_type"]].aggregate
        (row,) = platform.rows(
            f"SELECT to_jsonb(s) = e.after AS same, e.changed, e.effective_at::text AS effective, e.schema_version "
            f"FROM directory.events e JOIN directory.{aggregate.table} s ON s.{aggregate.key} = e.aggregate_id "
            f"AND s.version = e.aggregate_version WHERE e.event_id = %s",
            told["event_id"],
        )
        assert row["same"]
        assert row["schema_version"] == declared[told["event_type"]].schema_version
        assert row["effective"].startswith(("2026-03-31 15:00:00+00", "2026-04-01 00:00:00+09"))
        if told["aggregate_version"] == 1:
            assert row["changed"] is None
        else:
            assert row["changed"]["version"] == {"from": told["aggregate_version"] - 1, "to": told["aggregate_version"]}


def test_changed_says_what_a_column_was_and_became(api: Api, platform: Platform) -> None:
    api.found()
    user = api.user()

    api.do(f"/v1/users/{user['id']}/activate", version=1)

    (row,) = platform.rows(
        "SELECT changed FROM directory.events WHERE event_type = 'user.activated' AND tenant_id = %s", api.tenant
    )
    assert row["changed"].keys() == {"status", "version", "updated_at"}
    assert row["changed"]["status"] == {"from": "invited", "to": "active"}


def test_an_email_address_is_in_no_event_and_no_answer(api: Api, platform: Platform) -> None:
    api.found()

    api.user(email="yoko@sakura.example")

    kept = platform.rows("SELECT value FROM directory.login_identifiers WHERE tenant_id = %s", api.tenant)
    assert kept == [{"value": "yoko@sakura.example"}]
    assert "yoko@" not in api.last.text
    assert platform.rows("SELECT 1 AS x FROM directory.events WHERE events::text LIKE '%yoko@%'") == []


def test_the_source_time_of_an_answer_lies_at_or_after_the_commit(api: Api, platform: Platform, slot: Slot) -> None:
    api.found()

    api.user()

    source_time = api.last.headers["X-Source-Time"]
    (event,) = api.last.json()["events"]
    (row,) = platform.rows(
        "SELECT %s::timestamptz > %s::timestamptz AS after_recording, %s::timestamptz <= clock_timestamp() AS past",
        source_time,
        event["recorded_at"],
        source_time,
    )
    assert row == {"after_recording": True, "past": True}


def test_a_refused_command_leaves_nothing(api: Api, platform: Platform, slot: Slot) -> None:
    api.found()
    user, _, _ = _member(api)
    before = {table: platform.count(table, api.tenant) for table in ("directory.events", "directory.idempotency_keys")}
    slot.transactions()

    response = api.command(f"/v1/users/{user['id']}/suspend", version=1)  # invited, not active

    assert response.status_code == 409
    assert slot.transactions() == []
    assert {table: platform.count(table, api.tenant) for table in before} == before


def test_reading_says_nothing_in_the_change_stream(api: Api, slot: Slot) -> None:
    api.found()
    user = api.user()
    slot.transactions()

    for path in ("/v1/tenant", "/v1/users", f"/v1/users/{user['id']}/access", f"/v1/events?aggregate_id={user['id']}"):
        assert api.get(path).status_code == 200

    assert slot.transactions() == []
