"""Contracts, seats and devices: who may hold what, and what the check answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors as pg

from services.asset import events
from tests.services.conftest import Assets

YESTERDAY = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
TOMORROW = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()


def test_a_seat_opens_the_product_for_its_holder_and_for_nobody_else(assets: Assets) -> None:
    holder, other = assets.user(), assets.user()
    license = assets.license(1)

    seat = assets.assign(license, user_id=holder)

    assert seat["seat"] == 1
    assert assets.check(user_id=holder) == {
        "allowed": True,
        "because": "seat-held",
        "license_id": license["id"],
        "seat": 1,
        "ends_on": None,
    }
    assert assets.check(user_id=other)["because"] == "no-seat"
    assert assets.check(product="patient_messaging", user_id=holder)["because"] == "no-seat"
    assert assets.check(product="no_such_product", user_id=holder)["because"] == "no-seat"


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda assets, user: assets.directory.do(f"/v1/users/{user}/suspend", version=2), "user-suspended"),
        (lambda assets, user: assets.directory.do(f"/v1/users/{user}/retire", version=2), "user-retired"),
    ],
)
def test_what_the_directory_committed_closes_the_door_at_once(
    change: Callable[[Assets, str], Any], because: str, assets: Assets
) -> None:
    user = assets.user()
    assets.assign(assets.license(1), user_id=user)
    assert assets.check(user_id=user)["allowed"]

    change(assets, user)

    answer = assets.check(user_id=user)
    assert (answer["allowed"], answer["because"]) == (False, because)


def test_a_user_who_has_not_come_yet_may_hold_a_seat_that_opens_nothing(assets: Assets) -> None:
    user = assets.user(active=False)
    assets.assign(assets.license(1), user_id=user)

    assert assets.check(user_id=user)["because"] == "user-invited"


@pytest.mark.parametrize(
    ("contract", "because"),
    [
        ({"starts_on": TOMORROW}, "contract-not-begun"),
        ({"starts_on": "2020-04-01", "ends_on": YESTERDAY}, "contract-ended"),
        ({"starts_on": "2020-04-01", "ends_on": TOMORROW}, "seat-held"),
    ],
)
def test_a_seat_counts_only_while_its_contract_runs(contract: dict[str, str], because: str, assets: Assets) -> None:
    user = assets.user()
    assets.assign(assets.license(1, contract=assets.contract(**contract)), user_id=user)

    answer = assets.check(user_id=user)

    assert answer["because"] == because
    assert answer["allowed"] == (because == "seat-held")


def test_of_two_seats_the_one_that_opens_counts(assets: Assets) -> None:
    user = assets.user()
    ended, running = assets.contract(ends_on=YESTERDAY), assets.contract()
    assets.assign(assets.license(1, contract=ended), user_id=user)
    license = assets.license(1, contract=running)
    assets.assign(license, user_id=user)

    answer = assets.check(user_id=user)

    assert (answer["allowed"], answer["license_id"]) == (True, license["id"])


def test_a_released_seat_closes_at_once_and_is_given_again(assets: Assets) -> None:
    first, second = assets.user(), assets.user()
    license = assets.license(1)
    seat = assets.assign(license, user_id=first)

    assets.api.do(f"/v1/assignments/{seat['id']}/release", version=1)

    assert assets.check(user_id=first)["because"] == "no-seat"
    assert assets.assign(license, user_id=second)["seat"] == 1
    assert assets.api.command(f"/v1/assignments/{seat['id']}/release", version=2).status_code == 409


def test_a_terminated_contract_opens_nothing_from_its_day_on_and_takes_no_license(assets: Assets) -> None:
    user = assets.user()
    contract = assets.contract()
    assets.assign(assets.license(1, contract=contract), user_id=user)

    assets.api.do(f"/v1/contracts/{contract['id']}/terminate", {"ends_on": YESTERDAY}, version=1)

    assert assets.check(user_id=user)["because"] == "contract-ended"
    more = {"product": "medication_record", "seats": 1}
    assert assets.api.command(f"/v1/contracts/{contract['id']}/licenses", more).status_code == 409
    again = assets.api.command(f"/v1/contracts/{contract['id']}/terminate", {"ends_on": YESTERDAY}, version=2)
    assert again.status_code == 409


def test_a_lost_device_loses_its_seats_in_the_same_transaction(assets: Assets) -> None:
    device = assets.device()
    for product in ("dispensing_audit", "e_prescription"):
        assets.assign(assets.license(3, product), device_id=device["id"])
    assert assets.check("e_prescription", device_id=device["id"])["allowed"]

    response = assets.api.command(f"/v1/devices/{device['id']}/lose", version=1)

    told = response.json()["events"]
    assert [event["event_type"] for event in told] == ["device.lost", "seat.released", "seat.released"]
    assert assets.check("e_prescription", device_id=device["id"])["because"] == "no-seat"
    assert (
        assets.api.command(f"/v1/licenses/{uuid4()}/assignments", {"device_id": device["id"]}).status_code == 409
    )  # lost
    assets.api.do(f"/v1/devices/{device['id']}/find", version=2)
    assert not assets.check("e_prescription", device_id=device["id"])["allowed"]


@pytest.mark.parametrize(
    ("before", "verb", "status"),
    [
        ((), "lose", 200),
        (("lose",), "lose", 409),
        (("lose",), "find", 200),
        ((), "find", 409),
        ((), "retire", 200),
        (("lose",), "retire", 200),
        (("retire",), "retire", 409),
        (("retire",), "find", 409),
        (("retire",), "lose", 409),
    ],
)
def test_a_device_goes_only_where_its_status_allows(
    before: tuple[str, ...], verb: str, status: int, assets: Assets
) -> None:
    device = assets.device()
    for version, step in enumerate(before, start=1):
        assets.api.do(f"/v1/devices/{device['id']}/{step}", version=version)

    response = assets.api.command(f"/v1/devices/{device['id']}/{verb}", version=len(before) + 1)

    assert response.status_code == status


def test_a_device_moves_to_another_pharmacy_of_its_tenant_only(assets: Assets) -> None:
    device = assets.device()
    path = f"/v1/devices/{device['id']}/move"
    own_tenant = assets.api.tenant

    assets.found()
    foreign = assets.pharmacy()
    assets.api.tenant = assets.directory.tenant = own_tenant

    assert assets.api.command(path, {"pharmacy_id": foreign}, version=1).status_code == 404
    assert assets.api.command(path, {"pharmacy_id": device["pharmacy_id"]}, version=1).status_code == 409
    assert assets.api.do(path, {"pharmacy_id": assets.pharmacy()}, version=1)["version"] == 2


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/contracts", {"number": "", "starts_on": "2020-04-01"}, 422),
        ("/v1/contracts", {"number": "x", "starts_on": "2020-04-02", "ends_on": "2020-04-01"}, 422),
        (f"/v1/contracts/{uuid4()}/licenses", {"product": "medication_record", "seats": 1}, 404),
        (f"/v1/contracts/{uuid4()}/licenses", {"product": "medication_record", "seats": -1}, 422),
        (f"/v1/contracts/{uuid4()}/licenses", {"product": "medication_record", "seats": 100001}, 422),
        (f"/v1/contracts/{uuid4()}/licenses", {"product": "DROP TABLE", "seats": 1}, 422),
        (f"/v1/licenses/{uuid4()}/assignments", {}, 422),
        (f"/v1/licenses/{uuid4()}/assignments", {"user_id": str(uuid4()), "device_id": str(uuid4())}, 422),
        (f"/v1/licenses/{uuid4()}/assignments", {"user_id": str(uuid4())}, 404),
        ("/v1/devices", {"pharmacy_id": str(uuid4()), "kind": "terminal", "serial": "1"}, 404),
        ("/v1/devices", {"pharmacy_id": str(uuid4()), "kind": "toaster", "serial": "1"}, 422),
        ("/v1/devices", {"pharmacy_id": str(uuid4()), "kind": "terminal", "serial": "a\x00"}, 422),
    ],
)
def test_what_can_not_be_is_refused_with_a_fix(path: str, body: dict[str, Any], status: int, assets: Assets) -> None:
    response = assets.api.command(path, body)

    assert response.status_code == status, response.text
    assert response.json()["fix"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("product=medication_record", 422),
        (f"product=medication_record&user_id={uuid4()}&device_id={uuid4()}", 422),
        ("product=medication_record&user_id=x", 422),
        (f"user_id={uuid4()}", 422),
        (f"product=%00&user_id={uuid4()}", 422),
        (f"product=medication_record&user_id={uuid4()}", 200),
    ],
)
def test_a_check_that_asks_nothing_is_refused(query: str, status: int, assets: Assets) -> None:
    assert assets.api.get(f"/v1/licenses/check?{query}").status_code == status


def test_a_seat_goes_to_the_kind_of_holder_that_its_product_asks_for(assets: Assets) -> None:
    device, user = assets.device(), assets.user()
    for license, holder in (
        (assets.license(1), {"device_id": device["id"]}),
        (assets.license(1, "e_prescription"), {"user_id": user}),
    ):
        response = assets.api.command(f"/v1/licenses/{license['id']}/assignments", holder)

        assert response.status_code == 422
        assert "_id" in response.json()["fix"]


def test_another_tenants_assets_are_not_there(assets: Assets) -> None:
    user = assets.user()
    device, license, contract = assets.device(), assets.license(1), assets.contract()
    seat = assets.assign(license, user_id=user)
    paths = [
        f"/v1/contracts/{contract['id']}",
        f"/v1/licenses/{license['id']}",
        f"/v1/assignments/{seat['id']}",
        f"/v1/devices/{device['id']}",
    ]
    assert [assets.api.get(path).status_code for path in paths] == [200] * 4

    assets.found()
    mine = assets.user()
    commands: list[tuple[str, dict[str, Any], int | None]] = [
        (f"/v1/contracts/{contract['id']}/terminate", {"ends_on": YESTERDAY}, 1),
        (f"/v1/contracts/{contract['id']}/licenses", {"product": "medication_record", "seats": 1}, None),
        (f"/v1/licenses/{license['id']}/resize", {"seats": 5}, 1),
        (f"/v1/licenses/{license['id']}/assignments", {"user_id": mine}, None),
        (f"/v1/licenses/{assets.license(1)['id']}/assignments", {"user_id": user}, None),
        (f"/v1/assignments/{seat['id']}/release", {}, 1),
        (f"/v1/devices/{device['id']}/move", {"pharmacy_id": assets.pharmacy()}, 1),
        (f"/v1/devices/{device['id']}/lose", {}, 1),
        (f"/v1/devices/{device['id']}/retire", {}, 1),
    ]

    assert [assets.api.get(path).status_code for path in paths] == [404] * 4
    assert [assets.api.command(*command[:2], version=command[2]).status_code for command in commands] == [404] * 9
    assert assets.check(user_id=user)["because"] == "no-seat"


def _at_once(clients: int, act: Callable[[int], int]) -> list[int]:
    together = threading.Barrier(clients)

    def one(number: int) -> int:
        together.wait(20)
        return act(number)

    with ThreadPoolExecutor(clients) as pool:
        return sorted(pool.map(one, range(clients)))


def _send(assets: Assets, path: str, body: dict[str, Any], version: int | None = None) -> int:
    headers = {"X-Actor": "operator:sato", "X-Tenant": str(assets.api.tenant), "Idempotency-Key": f"key-{uuid4()}"}
    if version is not None:
        headers["If-Match"] = f'"{version}"'
    return assets.api.http.post(path, json=body, headers=headers).status_code


def test_of_many_who_want_a_seat_at_once_as_many_get_one_as_there_are_seats(assets: Assets) -> None:
    users = [assets.user() for _ in range(24)]
    license = assets.license(5)

    statuses = _at_once(24, lambda n: _send(assets, f"/v1/licenses/{license['id']}/assignments", {"user_id": users[n]}))

    assert statuses == [201] * 5 + [409] * 19
    held = assets.platform.rows(
        "SELECT seat FROM asset.assignments WHERE license_id = %s AND released_at IS NULL ORDER BY seat", license["id"]
    )
    assert [row["seat"] for row in held] == [1, 2, 3, 4, 5]
    assert sum(assets.check(user_id=user)["allowed"] for user in users) == 5


def test_seats_that_shrink_while_they_are_given_out_are_never_overdrawn(assets: Assets) -> None:
    for _ in range(4):
        users = [assets.user() for _ in range(8)]
        license = assets.license(8)
        path = f"/v1/licenses/{license['id']}"

        def act(number: int, path: str = path, users: list[str] = users) -> int:
            if number == 8:
                return _send(assets, f"{path}/resize", {"seats": 3}, version=1)
            return _send(assets, f"{path}/assignments", {"user_id": users[number]})

        statuses = _at_once(9, act)

        (row,) = assets.platform.rows(
            "SELECT l.seats, count(a.id) AS held, max(a.seat) AS highest FROM asset.licenses l "
            "LEFT JOIN asset.assignments a ON a.license_id = l.id AND a.released_at IS NULL "
            "WHERE l.id = %s GROUP BY l.id",
            license["id"],
        )
        assert row["held"] <= row["seats"]
        assert row["highest"] <= row["seats"]
        assert set(statuses) <= {200, 201, 409}
        assert statuses.count(201) == row["held"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE asset.assignments SET seat = 2 WHERE license_id = %s",
        "UPDATE asset.licenses SET seats = 0 WHERE id = %s",
        "INSERT INTO asset.assignments (id, tenant_id, license_id, product, seat, user_id, version) "
        "SELECT gen_random_uuid(), tenant_id, license_id, product, 1, user_id, 1 FROM asset.assignments "
        "WHERE license_id = %s",
        "INSERT INTO asset.assignments (id, tenant_id, license_id, product, seat, user_id, version) "
        "SELECT gen_random_uuid(), tenant_id, license_id, product, 2, user_id, 1 FROM asset.assignments "
        "WHERE license_id = %s",
    ],
)
def test_seats_can_not_be_overdrawn_by_hand_either(statement: str, assets: Assets) -> None:
    license = assets.license(1)
    assets.assign(license, user_id=assets.user())

    with (
        psycopg.connect(assets.platform.admin_dsn) as admin,
        pytest.raises((pg.CheckViolation, pg.UniqueViolation)),
    ):
        admin.execute(statement.encode(), (license["id"],))


def test_every_event_type_is_written_and_carries_the_state_as_the_table_has_it(assets: Assets) -> None:
    device = assets.device()
    assets.api.do(f"/v1/devices/{device['id']}/move", {"pharmacy_id": assets.pharmacy()}, version=1)
    contract = assets.contract()
    license = assets.license(1, "e_prescription", contract)
    assets.api.do(f"/v1/licenses/{license['id']}/resize", {"seats": 2}, version=1)
    assets.assign(license, device_id=device["id"])
    assets.api.do(f"/v1/devices/{device['id']}/lose", version=2)
    assets.api.do(f"/v1/devices/{device['id']}/find", version=3)
    assets.api.do(f"/v1/devices/{device['id']}/retire", version=4)
    assets.api.do(f"/v1/contracts/{contract['id']}/terminate", {"ends_on": YESTERDAY}, version=1)

    written = assets.platform.rows("SELECT event_type FROM asset.events WHERE tenant_id = %s", assets.api.tenant)
    assert {row["event_type"] for row in written} == {e.name for e in events.ALL if e not in events.REORGANISED}
    for aggregate in events.AGGREGATES:
        assert not assets.platform.rows(
            f"SELECT 1 AS x FROM asset.{aggregate.table} s JOIN ("
            "  SELECT DISTINCT ON (aggregate_id) aggregate_id, after FROM asset.events WHERE aggregate_type = %s"
            "  ORDER BY aggregate_id, aggregate_version DESC) e ON e.aggregate_id = s.id "
            "WHERE to_jsonb(s) IS DISTINCT FROM e.after",
            aggregate.type,
        )
    history = assets.api.get(f"/v1/events?aggregate_id={device['id']}").json()["items"]
    assert [event["event_type"] for event in history] == [
        "device.registered",
        "device.moved",
        "device.lost",
        "device.found",
        "device.retired",
    ]


def test_a_command_again_under_its_key_gets_the_same_answer(assets: Assets) -> None:
    license, user = assets.license(1), assets.user()
    path = f"/v1/licenses/{license['id']}/assignments"

    first = assets.api.command(path, {"user_id": user}, key="the-same-key")
    again = assets.api.command(path, {"user_id": user}, key="the-same-key")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content


def test_the_catalogue_is_the_same_for_all(assets: Assets) -> None:
    items = assets.api.get("/v1/products").json()["items"]

    assert {item["seat_of"] for item in items} == {"user", "device"}
