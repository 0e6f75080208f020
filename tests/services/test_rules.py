"""What the directory refuses, because the state or the version doesn't allow it; and what follows from what."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from tests.services.conftest import Api, Platform


def _open_memberships(api: Api, user: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.get(f"/v1/users/{user['id']}/access").json()["memberships"]
    return rows


def test_a_change_on_a_version_that_is_no_longer_there_is_refused(api: Api) -> None:
    api.found()
    organisation = api.organisation()
    path = f"/v1/organisations/{organisation['id']}/rename"
    api.do(path, {"name": "新社名", "kana": "シンシャメイ"}, version=1)

    response = api.command(path, {"name": "別社名", "kana": "ベツシャメイ"}, version=1)

    assert response.status_code == 412
    assert response.json()["type"] == "urn:rireki:problem:version-conflict"
    assert api.get(f"/v1/organisations/{organisation['id']}").json()["name"] == "新社名"
    assert api.get(f"/v1/organisations/{organisation['id']}").headers["ETag"] == '"2"'


def test_a_change_that_does_not_say_which_version_it_saw_is_refused(api: Api) -> None:
    api.found()
    user = api.user()

    response = api.command(f"/v1/users/{user['id']}/activate")

    assert response.status_code == 428
    assert api.get(f"/v1/users/{user['id']}").json()["status"] == "invited"


@pytest.mark.parametrize("etag", ["3", '"x"', '""', '"-1"', "*", '"1", "2"'])
def test_an_if_match_that_is_no_version_is_refused(etag: str, api: Api) -> None:
    api.found()
    user = api.user()

    response = api.command(f"/v1/users/{user['id']}/activate", headers={"If-Match": etag})

    assert response.status_code == 422


def test_of_two_who_change_one_version_at_once_one_wins(api: Api, platform: Platform) -> None:
    api.found()
    user = api.user()
    together = threading.Barrier(6)

    def activate(number: int) -> int:
        together.wait(10)
        return api.http.post(
            f"/v1/users/{user['id']}/activate",
            json={},
            headers={
                "X-Actor": api.actor,
                "X-Tenant": str(api.tenant),
                "Idempotency-Key": f"activate-{number}",
                "If-Match": '"1"',
            },
        ).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(activate, range(6)))

    assert statuses == [200] + [412] * 5
    activated = "SELECT 1 AS x FROM directory.events WHERE event_type = 'user.activated' AND aggregate_id = %s"
    assert len(platform.rows(activated, user["id"])) == 1


@pytest.mark.parametrize(
    ("before", "verb", "status"),
    [
        ((), "activate", 200),
        (("activate",), "activate", 409),
        (("activate", "suspend"), "activate", 200),
        (("retire",), "activate", 409),
        ((), "suspend", 409),
        (("activate",), "suspend", 200),
        (("activate", "suspend"), "suspend", 409),
        (("retire",), "suspend", 409),
        ((), "retire", 200),
        (("activate", "suspend"), "retire", 200),
        (("retire",), "retire", 409),
    ],
)
def test_a_user_goes_only_where_the_status_allows(before: tuple[str, ...], verb: str, status: int, api: Api) -> None:
    api.found()
    user = api.user()
    for version, step in enumerate(before, start=1):
        api.do(f"/v1/users/{user['id']}/{step}", version=version)

    response = api.command(f"/v1/users/{user['id']}/{verb}", version=len(before) + 1)

    assert response.status_code == status


def test_who_retires_loses_every_membership_and_role_under_one_correlation(api: Api, platform: Platform) -> None:
    api.found()
    organisation = api.organisation()
    pharmacy = api.pharmacy(organisation)
    user, other = api.user(), api.user()
    for who in (user, other):
        api.do(f"/v1/users/{who['id']}/memberships", {"pharmacy_id": pharmacy["id"], "valid_from": "2020-04-01"})
        api.do(f"/v1/users/{who['id']}/role-grants", {"role": "clerk"})
    api.do(
        f"/v1/users/{user['id']}/memberships",
        {"organisation_id": organisation["id"], "is_primary": False, "valid_from": "2021-04-01"},
    )

    api.do(f"/v1/users/{user['id']}/retire", {"retired_on": "2026-03-31"}, version=1)

    access = api.get(f"/v1/users/{user['id']}/access").json()
    assert (access["user"]["status"], access["memberships"], access["role_grants"]) == ("retired", [], [])
    assert platform.rows("SELECT DISTINCT valid_to FROM directory.memberships WHERE user_id = %s", user["id"]) == [
        {"valid_to": date(2026, 3, 31)}
    ]
    correlations = platform.rows(
        "SELECT correlation_id FROM directory.events WHERE tenant_id = %s "
        "AND event_type IN ('user.retired', 'membership.ended', 'role.revoked')",
        api.tenant,
    )
    assert len(correlations) == 4
    assert len({row["correlation_id"] for row in correlations}) == 1
    assert len(_open_memberships(api, other)) == 1


@pytest.mark.parametrize("what", ["memberships", "role-grants"])
def test_nothing_is_given_to_who_has_retired(what: str, api: Api) -> None:
    api.found()
    body = {"organisation_id": api.organisation()["id"]} | ({"role": "clerk"} if what == "role-grants" else {})
    user = api.user()
    api.do(f"/v1/users/{user['id']}/retire", version=1)

    assert api.command(f"/v1/users/{user['id']}/{what}", body).status_code == 409


def test_an_assignment_and_a_retirement_at_once_leave_no_open_membership(api: Api, platform: Platform) -> None:
    api.found()
    organisation = api.organisation()
    users = [api.user() for _ in range(6)]
    together = threading.Barrier(2)

    def send(path: str, body: dict[str, Any], key: str, etag: str | None = None) -> int:
        headers = {"X-Actor": api.actor, "X-Tenant": str(api.tenant), "Idempotency-Key": key}
        together.wait(10)
        return api.http.post(path, json=body, headers=headers | ({"If-Match": etag} if etag else {})).status_code

    with ThreadPoolExecutor(2) as pool:
        for user in users:
            assigned = pool.submit(
                send,
                f"/v1/users/{user['id']}/memberships",
                {"organisation_id": organisation["id"]},
                f"assign-{user['id']}",
            )
            retired = pool.submit(send, f"/v1/users/{user['id']}/retire", {}, f"retire-{user['id']}", '"1"')
            assert retired.result(20) == 200
            assert assigned.result(20) in (201, 409)

    assert (
        platform.rows("SELECT id FROM directory.memberships WHERE valid_to IS NULL AND tenant_id = %s", api.tenant)
        == []
    )


def test_a_transfer_ends_here_and_begins_there_on_one_day(api: Api, platform: Platform) -> None:
    api.found()
    organisation = api.organisation()
    here, there = api.pharmacy(organisation), api.pharmacy(organisation)
    user = api.user()
    membership = api.do(
        f"/v1/users/{user['id']}/memberships",
        {"pharmacy_id": here["id"], "valid_from": "2025-04-01", "weekly_hours": "37.50"},
    )

    api.do(
        f"/v1/memberships/{membership['id']}/transfer",
        {"pharmacy_id": there["id"], "valid_from": "2026-04-01"},
        version=1,
    )

    (now,) = _open_memberships(api, user)
    assert (now["pharmacy_id"], now["valid_from"], now["weekly_hours"], now["is_primary"]) == (
        there["id"],
        "2026-04-01",
        37.5,
        True,
    )
    ended = api.get(f"/v1/memberships/{membership['id']}").json()
    assert (ended["valid_to"], ended["version"]) == ("2026-04-01", 2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"valid_from": "2025-03-31"}, 409),  # before it began
        ({"same": True}, 409),
        ({"valid_from": "2025-04-01"}, 201),
    ],
)
def test_a_transfer_that_can_not_be_is_refused(body: dict[str, Any], status: int, api: Api) -> None:
    api.found()
    organisation = api.organisation()
    here, there = api.pharmacy(organisation), api.pharmacy(organisation)
    user = api.user()
    membership = api.do(f"/v1/users/{user['id']}/memberships", {"pharmacy_id": here["id"], "valid_from": "2025-04-01"})
    to = here if body.pop("same", False) else there

    response = api.command(f"/v1/memberships/{membership['id']}/transfer", {"pharmacy_id": to["id"], **body}, version=1)

    assert response.status_code == status


def test_a_membership_that_has_ended_is_over(api: Api) -> None:
    api.found()
    organisation, other = api.organisation(), api.organisation()
    user = api.user()
    membership = api.do(f"/v1/users/{user['id']}/memberships", {"organisation_id": organisation["id"]})
    api.do(f"/v1/memberships/{membership['id']}/end", version=1)

    ended = api.command(f"/v1/memberships/{membership['id']}/end", version=2)
    moved = api.command(f"/v1/memberships/{membership['id']}/transfer", {"organisation_id": other["id"]}, version=2)

    assert (ended.status_code, moved.status_code) == (409, 409)


def test_a_user_has_one_primary_membership_and_one_in_each_place(api: Api) -> None:
    api.found()
    first, second = api.organisation(), api.organisation()
    path = f"/v1/users/{api.user()['id']}/memberships"
    api.do(path, {"organisation_id": first["id"]})

    second_primary = api.command(path, {"organisation_id": second["id"]})
    same_place = api.command(path, {"organisation_id": first["id"], "is_primary": False})
    secondary = api.command(path, {"organisation_id": second["id"], "is_primary": False})

    assert [r.status_code for r in (second_primary, same_place, secondary)] == [409, 409, 201]


def test_a_role_is_held_once_in_each_place_and_revoked_once(api: Api) -> None:
    api.found()
    organisation = api.organisation()
    path = f"/v1/users/{api.user()['id']}/role-grants"
    grant = api.do(path, {"role": "clerk"})

    again = api.command(path, {"role": "clerk"})
    elsewhere = api.command(path, {"role": "clerk", "organisation_id": organisation["id"]})
    api.do(f"/v1/role-grants/{grant['id']}/revoke", version=1)
    revoked_again = api.command(f"/v1/role-grants/{grant['id']}/revoke", version=2)
    anew = api.command(path, {"role": "clerk"})

    assert [r.status_code for r in (again, elsewhere, revoked_again, anew)] == [409, 201, 409, 201]


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


def test_two_tenants_may_have_the_same_code_and_the_same_email(api: Api) -> None:
    for _ in range(2):
        api.found()
        api.pharmacy(api.organisation(), code="1301111111", code_valid_from="2001-04-01")
        api.user(email="yoko@example.jp")


def test_an_email_address_is_used_once_in_a_tenant_whatever_its_case(api: Api) -> None:
    api.found()
    api.user(email="Yoko@example.jp")

    response = api.command(
        "/v1/users", {"name": "林 洋子", "kana": "ハヤシ ヨウコ", "email": "yoko@EXAMPLE.jp", "is_pharmacist": False}
    )

    assert response.status_code == 409


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


def test_a_renamed_organisation_keeps_the_names_it_had(api: Api) -> None:
    api.found()
    organisation = api.organisation(name="甲", kana="コウ")
    path = f"/v1/organisations/{organisation['id']}/rename"

    api.do(path, {"name": "乙", "kana": "オツ"}, version=1)
    api.do(path, {"name": "丙", "kana": "ヘイ"}, version=2)
    same = api.command(path, {"name": "丙", "kana": "ヘイ"}, version=3)

    assert api.get(f"/v1/organisations/{organisation['id']}").json()["aliases"] == ["甲", "乙"]
    assert same.status_code == 409


def test_pages_show_every_row_once(api: Api) -> None:
    api.found()
    made = {api.organisation()["id"] for _ in range(5)}

    seen: list[str] = []
    after = ""
    while True:
        page = api.get(f"/v1/organisations?limit=2{after}").json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"

    assert len(seen) == 5
    assert set(seen) == made


def test_the_history_of_an_aggregate_reads_from_its_beginning(api: Api) -> None:
    api.found()
    user = api.user()
    api.do(f"/v1/users/{user['id']}/activate", version=1)
    api.do(f"/v1/users/{user['id']}/suspend", version=2)

    first = api.get(f"/v1/events?aggregate_id={user['id']}&limit=2").json()
    rest = api.get(f"/v1/events?aggregate_id={user['id']}&after_version={first['next']}").json()

    assert [event["event_type"] for event in first["items"] + rest["items"]] == [
        "user.invited",
        "user.activated",
        "user.suspended",
    ]
    assert rest["next"] is None


def test_an_organisation_moves_with_all_that_hangs_on_it_but_never_under_itself(api: Api) -> None:
    api.found()
    top, other = api.organisation(), api.organisation()
    middle = api.organisation(parent_id=top["id"])
    leaf = api.organisation(parent_id=middle["id"])
    path = f"/v1/organisations/{top['id']}/move"

    for under in (top, middle, leaf):
        assert api.command(path, {"parent_id": under["id"]}, version=1).status_code == 409
    assert api.command(path, {"parent_id": None}, version=1).status_code == 409  # there already
    moved = api.do(f"/v1/organisations/{middle['id']}/move", {"parent_id": other["id"]}, version=1)

    assert moved["parent_id"] == other["id"]
    assert api.do(path, {"parent_id": leaf["id"]}, version=1)["parent_id"] == leaf["id"]


def test_two_moves_at_once_close_no_ring(api: Api, platform: Platform) -> None:
    api.found()
    for _ in range(5):
        pair = [api.organisation(), api.organisation()]
        together = threading.Barrier(2)

        def move(number: int, pair: list[dict[str, Any]] = pair, together: threading.Barrier = together) -> int:
            together.wait(10)
            return api.http.post(
                f"/v1/organisations/{pair[number]['id']}/move",
                json={"parent_id": pair[1 - number]["id"]},
                headers={
                    "X-Actor": api.actor,
                    "X-Tenant": str(api.tenant),
                    "Idempotency-Key": f"move-{pair[number]['id']}",
                    "If-Match": '"1"',
                },
            ).status_code

        with ThreadPoolExecutor(2) as pool:
            statuses = sorted(pool.map(move, range(2)))

        assert statuses == [200, 409]


def test_an_organisation_closes_only_when_nothing_hangs_on_it(api: Api) -> None:
    api.found()
    organisation = api.organisation()
    path = f"/v1/organisations/{organisation['id']}/close"
    child = api.organisation(parent_id=organisation["id"])
    pharmacy = api.pharmacy(organisation)

    refused = api.command(path, version=1)
    api.do(f"/v1/organisations/{child['id']}/close", version=1)
    api.do(f"/v1/pharmacies/{pharmacy['id']}/close", version=1)
    closed = api.do(path, {"closed_on": "2026-03-31"}, version=1)

    assert refused.status_code == 409
    assert "1 organisations, 1 pharmacies" in refused.json()["detail"]
    assert closed["closed_on"] == "2026-03-31"
    assert api.command(path, version=2).status_code == 409


def test_a_closed_place_takes_nobody_in(api: Api) -> None:
    api.found()
    organisation = api.organisation()
    pharmacy = api.pharmacy(organisation)
    other, user = api.organisation(), api.user()
    api.do(f"/v1/pharmacies/{pharmacy['id']}/close", version=1)
    api.do(f"/v1/organisations/{organisation['id']}/close", version=1)
    assign, grant = f"/v1/users/{user['id']}/memberships", f"/v1/users/{user['id']}/role-grants"
    told = {"name": "x", "kana": "x", "prefecture": "東京都", "opened_on": "2001-04-01"}
    commands: list[tuple[str, dict[str, Any], int | None]] = [
        (assign, {"pharmacy_id": pharmacy["id"]}, None),
        (assign, {"organisation_id": organisation["id"]}, None),
        (grant, {"role": "clerk", "pharmacy_id": pharmacy["id"]}, None),
        (grant, {"role": "clerk", "organisation_id": organisation["id"]}, None),
        ("/v1/organisations", {"name": "x", "kana": "x", "parent_id": organisation["id"]}, None),
        ("/v1/pharmacies", {**told, "organisation_id": organisation["id"]}, None),
        (f"/v1/pharmacies/{pharmacy['id']}/transfer", {"organisation_id": other["id"]}, 2),
        (f"/v1/organisations/{other['id']}/move", {"parent_id": organisation["id"]}, 1),
    ]

    assert [api.command(path, body, version=version).status_code for path, body, version in commands] == [409] * 8


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


def test_a_new_address_takes_the_place_of_the_old_one_and_is_in_no_event(api: Api, platform: Platform) -> None:
    api.found()
    user = api.user(email="old@sakura.example")
    taken = api.user(email="taken@sakura.example")
    path = f"/v1/users/{user['id']}/identify"

    assert api.command(path, {"email": "TAKEN@sakura.example"}, version=1).status_code == 409
    api.do(path, {"email": "new@sakura.example"}, version=1)

    kept = platform.rows("SELECT value, user_version FROM directory.login_identifiers WHERE user_id = %s", user["id"])
    assert kept == [{"value": "new@sakura.example", "user_version": 2}]
    assert platform.rows("SELECT 1 AS x FROM directory.events WHERE events::text LIKE '%new@sakura%'") == []
    api.do(f"/v1/users/{taken['id']}/retire", version=1)
    assert api.command(f"/v1/users/{taken['id']}/identify", {"email": "x@y"}, version=2).status_code == 409
