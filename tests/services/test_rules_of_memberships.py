"""Who belongs where: from one day on, once in each place, until it ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.conftest import Api, Platform


def _open_memberships(api: Api, user: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.get(f"/v1/users/{user['id']}/access").json()["memberships"]
    return rows


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
