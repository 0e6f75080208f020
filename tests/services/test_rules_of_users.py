"""What follows when users come, go and retire, and what they may be given."""

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
