"""A command sent again under its key happens once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from services.journal.__main__ import main
from tests.services.conftest import Api, Platform

ORGANISATION = {"name": "関西支社", "kana": "カンサイシシャ", "kind": "area"}


def test_the_same_key_and_body_get_the_same_answer_and_change_nothing(api: Api, platform: Platform) -> None:
    api.found()
    first = api.command("/v1/organisations", ORGANISATION, key="same-key-1")

    again = api.command("/v1/organisations", ORGANISATION, key="same-key-1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert platform.count("directory.organisations", api.tenant) == 1
    assert platform.count("directory.events", api.tenant) == 2  # the tenant's and the organisation's


def test_an_answer_is_given_again_even_where_the_state_has_moved_on(api: Api) -> None:
    api.found()
    user = api.user()
    first = api.command(f"/v1/users/{user['id']}/activate", version=1, key="activate-1")
    api.do(f"/v1/users/{user['id']}/retire", version=2)

    again = api.command(f"/v1/users/{user['id']}/activate", version=1, key="activate-1")

    assert again.content == first.content
    assert api.get(f"/v1/users/{user['id']}").json()["status"] == "retired"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/organisations", {**ORGANISATION, "name": "関東支社"}),
        ("/v1/organisations", {**ORGANISATION, "reason": "another"}),
        ("/v1/users", {"name": "林 蓮", "kana": "ハヤシ レン", "email": "ren@sakura.example", "is_pharmacist": True}),
    ],
)
def test_the_same_key_with_another_request_is_refused(path: str, body: dict[str, object], api: Api) -> None:
    api.found()
    api.do("/v1/organisations", ORGANISATION, key="same-key-2")

    response = api.command(path, body, key="same-key-2")

    assert response.status_code == 422
    assert response.json()["type"] == "urn:rireki:problem:idempotency-key-reused"


def test_two_tenants_may_use_one_key(api: Api, platform: Platform) -> None:
    created = {}
    for _ in range(2):
        tenant = api.found()
        created[tenant] = api.do("/v1/organisations", ORGANISATION, key="same-key-3")["id"]

    assert len(set(created.values())) == 2
    assert [platform.count("directory.organisations", tenant) for tenant in created] == [1, 1]


def test_a_refused_command_does_not_use_up_its_key(api: Api) -> None:
    api.found()
    user = api.user()
    refused = api.command(f"/v1/users/{user['id']}/suspend", version=1, key="suspend-1")
    api.do(f"/v1/users/{user['id']}/activate", version=1)

    accepted = api.command(f"/v1/users/{user['id']}/suspend", version=2, key="suspend-1")

    assert (refused.status_code, accepted.status_code) == (409, 200)


def test_one_key_sent_by_many_at_once_creates_one_thing(api: Api, platform: Platform) -> None:
    api.found()
    together = threading.Barrier(8)

    def send(_: int) -> bytes:
        together.wait(10)
        response = api.http.post(
            "/v1/organisations",
            json=ORGANISATION,
            headers={"X-Actor": api.actor, "X-Tenant": str(api.tenant), "Idempotency-Key": "same-key-4"},
        )
        assert response.status_code == 201, response.text
        return response.content

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(send, range(8)))

    assert len(answers) == 1
    assert platform.count("directory.organisations", api.tenant) == 1


def test_an_old_answer_is_forgotten_and_its_command_does_not_happen_twice(
    own_api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api, platform = own_api, own_api.platform
    api.found()
    user = api.user()
    api.command("/v1/organisations", ORGANISATION, key="old-create")
    api.command(f"/v1/users/{user['id']}/activate", version=1, key="old-change")
    with psycopg.connect(platform.admin_dsn, autocommit=True) as admin:
        admin.execute(
            "UPDATE directory.idempotency_keys SET created_at = now() - interval '31 days' WHERE key ~ '^old'"
        )
    before = platform.count("directory.idempotency_keys", api.tenant)

    assert main(["expire", "--dsn", platform.admin_dsn]) == 0
    assert json.loads(capsys.readouterr().out) == {"directory": 2}
    assert main(["expire", "--dsn", platform.admin_dsn]) == 0

    assert platform.count("directory.idempotency_keys", api.tenant) == before - 2
    assert api.command("/v1/organisations", ORGANISATION, key="old-create").status_code == 409
    assert api.command(f"/v1/users/{user['id']}/activate", version=1, key="old-change").status_code == 412
    assert platform.count("directory.organisations", api.tenant) == 1


@pytest.mark.parametrize("days", ["0", "-1", "x"])
def test_no_answer_is_forgotten_within_a_day(days: str) -> None:
    with pytest.raises(SystemExit):
        main(["expire", "--days", days, "--dsn", "x"])
