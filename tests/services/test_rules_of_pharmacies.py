"""Pharmacies: their codes, hands and number."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.services.conftest import Api, Platform


def test_a_pharmacy_changes_hands_under_a_new_back_dated_code(api: Api, platform: Platform) -> None:
    api.found()
    seller, buyer = api.organisation(), api.organisation()
    pharmacy = api.pharmacy(seller, code="1301111111", code_valid_from="2001-04-01")

    state = api.do(
        f"/v1/pharmacies/{pharmacy['id']}/transfer",
        {
            "organisation_id": buyer["id"],
            "code": "1302222222",
            "code_valid_from": "2026-04-01",
            "effective_at": "2026-04-01T00:00:00+09:00",
            "reason": "事業譲渡",
        },
        version=1,
    )

    assert (state["organisation_id"], state["code"]) == (buyer["id"], "1302222222")
    (event,) = platform.rows(
        "SELECT changed->'code' AS code, reason, effective_at < recorded_at AS back_dated "
        "FROM directory.events WHERE event_type = 'pharmacy.transferred' AND tenant_id = %s",
        api.tenant,
    )
    assert event == {"code": {"from": "1301111111", "to": "1302222222"}, "reason": "事業譲渡", "back_dated": True}


def test_a_pharmacy_can_not_be_handed_to_who_has_it_nor_take_a_code_in_use(api: Api) -> None:
    api.found()
    one, two = api.organisation(), api.organisation()
    first = api.pharmacy(one, code="1301111111", code_valid_from="2001-04-01")
    second = api.pharmacy(one)

    same = api.command(f"/v1/pharmacies/{first['id']}/transfer", {"organisation_id": one["id"]}, version=1)
    taken = api.command(
        f"/v1/pharmacies/{second['id']}/transfer",
        {"organisation_id": two["id"], "code": "1301111111", "code_valid_from": "2026-04-01"},
        version=1,
    )

    assert (same.status_code, taken.status_code) == (409, 409)


def test_a_tenant_has_no_more_pharmacies_than_its_limit_even_when_they_come_at_once(api: Api) -> None:
    api.found(pharmacy_limit=2)
    organisation = api.organisation()
    body = {
        "organisation_id": organisation["id"],
        "name": "薬局",
        "kana": "ヤッキョク",
        "prefecture": "東京都",
        "opened_on": "2001-04-01",
    }

    def register(number: int) -> int:
        headers = {"X-Actor": api.actor, "X-Tenant": str(api.tenant), "Idempotency-Key": f"pharmacy-{number}"}
        return api.http.post("/v1/pharmacies", json=body, headers=headers).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(register, range(6)))

    assert statuses == [201, 201, 409, 409, 409, 409]


def test_a_code_counts_from_its_day_also_when_it_is_designated_afterwards(api: Api) -> None:
    api.found()
    pharmacy = api.pharmacy(api.organisation(), code="1300000001", code_valid_from="2020-04-01")
    path = f"/v1/pharmacies/{pharmacy['id']}"

    newer = api.do(f"{path}/designate", {"code": "1300000003", "valid_from": "2026-04-01"}, version=1)
    back_dated = api.command(f"{path}/designate", {"code": "1300000002", "valid_from": "2023-04-01"}, version=2)

    assert (newer["code"], newer["version"]) == ("1300000003", 2)
    assert [event["event_type"] for event in back_dated.json()["events"]] == ["pharmacy_code.designated"]
    assert api.get(path).json()["code"] == "1300000003"  # the newest stays

    def on(day: str) -> list[str]:
        return [item["code"] for item in api.get(f"{path}/codes?on={day}").json()["items"]]

    assert on("2020-03-31") == []
    assert on("2023-03-31") == ["1300000001"]
    assert on("2023-04-01") == ["1300000002"]
    assert on("2026-12-31") == ["1300000003"]
    again = api.command(f"{path}/designate", {"code": "1300000009", "valid_from": "2023-04-01"}, version=2)
    assert again.status_code == 409
