"""Who changes what others have changed meanwhile is told so."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.services.conftest import Api, Platform


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
