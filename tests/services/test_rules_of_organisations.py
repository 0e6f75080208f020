"""The tree of organisations, and what a closed place means."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.services.conftest import Api, Platform


def test_a_renamed_organisation_keeps_the_names_it_had(api: Api) -> None:
    api.found()
    organisation = api.organisation(name="甲", kana="コウ")
    path = f"/v1/organisations/{organisation['id']}/rename"

    api.do(path, {"name": "乙", "kana": "オツ"}, version=1)
    api.do(path, {"name": "丙", "kana": "ヘイ"}, version=2)
    same = api.command(path, {"name": "丙", "kana": "ヘイ"}, version=3)

    assert api.get(f"/v1/organisations/{organisation['id']}").json()["aliases"] == ["甲", "乙"]
    assert same.status_code == 409


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
