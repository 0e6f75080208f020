"""Whatever is sent, the answer is a problem with a fix, and never a server error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.shared.errors import StartupError
from services.web.settings import Settings
from tests.services.conftest import TOKEN, Api, Platform

USER = {"name": "佐藤 陽子", "kana": "サトウ ヨウコ", "email": "yoko@sakura.example", "is_pharmacist": True}


def _is_problem(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["fix"]
    assert problem["request_id"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong-token-wrong", f"Basic {TOKEN}", f"bearer {TOKEN}", TOKEN],
)
@pytest.mark.parametrize("path", ["/v1/users", "/v1/nothing", "/v1/tenants"])
def test_without_the_token_nothing_is_told(authorization: str | None, path: str, api: Api) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    with httpx.Client(base_url=api.http.base_url) as stranger:
        got = stranger.get(path, headers=headers)
        posted = stranger.post(path, content=b"{not json", headers=headers)

    _is_problem(got, 401)
    _is_problem(posted, 401)


def test_health_and_documentation_are_open_and_tell_of_no_tenant(api: Api) -> None:
    with httpx.Client(base_url=api.http.base_url) as stranger:
        assert stranger.get("/healthz").json() == {"database": True}
        described = stranger.get("/openapi.json").json()
        assert stranger.get("/docs").status_code == 200
        problem = stranger.get("/v1/tenant").json()
    refusal = described["paths"]["/v1/users"]["post"]["responses"]["default"]["content"]
    assert set(refusal["application/problem+json"]["schema"]["required"]) == set(problem)


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": ""},
        {"name": "   "},
        {"name": "あ" * 201},
        {"name": "a\x00b"},
        {"name": "a\x1b[31mb"},
        {"name": "a\u2028b"},
        {"name": 7},
        {"name": ["佐藤"]},
        {"kana": {}},
        {"email": "no address"},
        {"email": "a@b@c"},
        {"email": "あ@example.jp"},
        {"email": f"{'a' * 250}@example.jp"},
        {"is_pharmacist": "perhaps"},
        {"hired_on": "2026-02-30"},
        {"hired_on": "1026-01-01"},
        {"hired_on": "9999-12-31"},
        {"effective_at": "2026-04-01T00:00:00"},
        {"effective_at": "0001-01-01T00:00:00+14:00"},
        {"reason": "x" * 501},
        {"reason": "a\x00b"},
        {"unknown": 1},
        {"tenant_id": str(uuid4())},
        {"status": "active"},
    ],
)
def test_a_field_that_can_not_be_is_refused_and_named(change: dict[str, Any], api: Api, platform: Platform) -> None:
    api.found()

    response = api.command("/v1/users", {**USER, **change})

    _is_problem(response, 422)
    assert response.json()["errors"][0]["field"] == f"body.{next(iter(change))}"
    assert platform.count("directory.users", api.tenant) == 0


@pytest.mark.parametrize("missing", USER)
def test_a_field_that_is_missing_is_named(missing: str, api: Api) -> None:
    api.found()

    response = api.command("/v1/users", {key: value for key, value in USER.items() if key != missing})

    _is_problem(response, 422)
    assert response.json()["errors"] == [{"field": f"body.{missing}", "what": "Field required"}]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"name": "\\ud800", "kana": "x", "email": "a@b", "is_pharmacist": true}',
        b"[" * 20_000,
        b'{"a": ' + b"1" * 10_000 + b"}",
        b'{"name": NaN}',
    ],
)
def test_a_body_that_is_no_command_is_refused(content: bytes, api: Api) -> None:
    api.found()
    headers = {
        "X-Actor": api.actor,
        "X-Tenant": str(api.tenant),
        "Idempotency-Key": "some-key-1",
        "Content-Type": "application/json",
    }

    response = api.http.post("/v1/users", content=content, headers=headers)

    assert response.status_code in (400, 422)
    _is_problem(response, response.status_code)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_not_read(chunked: bool, api: Api) -> None:
    api.found()
    body = b'{"name": "' + b"a" * 70_000 + b'"}'
    headers = {"X-Actor": api.actor, "X-Tenant": str(api.tenant), "Idempotency-Key": "some-key-1"}

    response = api.http.post("/v1/users", content=iter([body]) if chunked else body, headers=headers)

    _is_problem(response, 413)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Tenant", "sakura"),
        ("X-Tenant", ""),
        ("X-Actor", ""),
        ("X-Actor", "a b"),
        ("X-Actor", "a" * 201),
        ("X-Actor-Type", "god"),
        ("Idempotency-Key", "short"),
        ("Idempotency-Key", "k" * 201),
        ("X-Correlation-Id", "1"),
        ("X-Request-Id", "a\tb"),
        ("X-On-Behalf-Of", "a b"),
    ],
)
def test_a_header_that_can_not_be_is_refused_and_named(header: str, value: str, api: Api) -> None:
    api.found()

    response = api.command("/v1/users", USER, headers={header: value})

    _is_problem(response, 422)
    assert response.json()["errors"][0]["field"] == f"header.{header.lower()}"


@pytest.mark.parametrize("missing", ["X-Tenant", "X-Actor", "Idempotency-Key"])
def test_a_header_that_is_missing_is_named(missing: str, api: Api) -> None:
    api.found()
    headers = {"X-Actor": api.actor, "X-Tenant": str(api.tenant), "Idempotency-Key": "some-key-1"}
    del headers[missing]

    response = api.http.post("/v1/users", json=USER, headers=headers)

    _is_problem(response, 422)
    assert response.json()["errors"][0]["field"] == f"header.{missing.lower()}"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/users/not-a-uuid", 422),
        ("GET", f"/v1/users/{uuid4()}", 404),
        ("GET", "/v1/users?limit=0", 422),
        ("GET", "/v1/users?limit=201", 422),
        ("GET", "/v1/users?after=x", 422),
        ("GET", f"/v1/events?aggregate_id={uuid4()}&after_version={2**63}", 422),
        ("GET", "/v1/events", 422),
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/users", 405),
        ("PUT", f"/v1/users/{uuid4()}", 405),
    ],
)
def test_a_path_that_is_not_there_is_said_so(method: str, path: str, status: int, api: Api) -> None:
    api.found()

    response = api.http.request(method, path, headers={"X-Tenant": str(api.tenant)})

    _is_problem(response, status)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/organisations", {"name": "x", "kana": "x"}),
        ("/v1/users", USER),
        (f"/v1/users/{uuid4()}/memberships", {"organisation_id": str(uuid4())}),
    ],
)
def test_a_tenant_that_is_not_there_is_not_found(path: str, body: dict[str, Any], api: Api) -> None:
    api.tenant = str(uuid4())

    _is_problem(api.command(path, body), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"organisation_id": str(uuid4()), "pharmacy_id": str(uuid4())},
        {"organisation_id": str(uuid4()), "weekly_hours": 0},
        {"organisation_id": str(uuid4()), "weekly_hours": 168.01},
        {"organisation_id": str(uuid4()), "weekly_hours": "1e-3"},
        {"organisation_id": str(uuid4()), "weekly_hours": "NaN"},
    ],
)
def test_a_membership_that_can_not_be_is_refused(body: dict[str, Any], api: Api) -> None:
    api.found()

    _is_problem(api.command(f"/v1/users/{api.user()['id']}/memberships", body), 422)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "1301111111"},
        {"code_valid_from": "2026-04-01"},
        {"code": "130111111", "code_valid_from": "2026-04-01"},
        {"code": "１３０１１１１１１１", "code_valid_from": "2026-04-01"},
        {"dispensing_area_m2": "12.345"},
        {"dispensing_area_m2": "Infinity"},
        {"dispensing_area_m2": "99999999999.99"},
        {"opening_hours": {"monday": ["09:00", "18:00"]}},
        {"opening_hours": {"mon": ["09:00", "25:00"]}},
        {"opening_hours": {"mon": ["09:00"]}},
        {"services": ["teleport"]},
    ],
)
def test_a_pharmacy_that_can_not_be_is_refused(change: dict[str, Any], api: Api) -> None:
    api.found()
    body = {
        "organisation_id": api.organisation()["id"],
        "name": "薬局",
        "kana": "ヤッキョク",
        "prefecture": "東京都",
        "opened_on": "2001-04-01",
    }
    assert api.command("/v1/pharmacies", body).status_code == 201

    _is_problem(api.command("/v1/pharmacies", {**body, **change}), 422)


def _asking(api: Api) -> Iterator[httpx.Response]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        yield api.command("/v1/users", USER, key="while-away")


def test_a_database_that_is_away_is_said_so_and_the_command_succeeds_when_it_is_back(
    own_api: Api,
) -> None:
    api, platform = own_api, own_api.platform
    api.found()
    server, name = platform.database.server, platform.database.name

    with server.connect() as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        away = api.command("/v1/users", USER, key="while-away")
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        back = next(r for r in _asking(api) if r.status_code != 503)

    _is_problem(away, 503)
    assert away.headers["Retry-After"] == "1"
    assert back.status_code == 201
    assert platform.count("directory.users", api.tenant) == 1


VALID = {"DIRECTORY_TOKEN": TOKEN, "DIRECTORY_DSN": "x"}


@pytest.mark.parametrize(
    ("environment", "subject"),
    [
        ({}, "DIRECTORY_TOKEN"),
        ({"DIRECTORY_TOKEN": "short", "DIRECTORY_DSN": "x"}, "DIRECTORY_TOKEN"),
        ({"DIRECTORY_TOKEN": "long enough but spaced", "DIRECTORY_DSN": "x"}, "DIRECTORY_TOKEN"),
        ({"DIRECTORY_TOKEN": TOKEN}, "DIRECTORY_DSN"),
        ({"DIRECTORY_TOKEN_FILE": "/nowhere/token", "DIRECTORY_DSN": "x"}, "DIRECTORY_TOKEN_FILE"),
        (
            {**VALID, "DIRECTORY_MAX_CONNECTIONS": "0"},
            "DIRECTORY_MAX_CONNECTIONS",
        ),
        (
            {**VALID, "DIRECTORY_MAX_CONNECTIONS": "x"},
            "DIRECTORY_MAX_CONNECTIONS",
        ),
    ],
)
def test_a_bad_environment_is_refused_naming_the_variable(environment: dict[str, str], subject: str) -> None:
    with pytest.raises(StartupError) as refused:
        Settings.from_environment("directory", environment)

    assert refused.value.subject == subject
    assert refused.value.fix


def test_secrets_are_not_in_the_settings_repr() -> None:
    settings = Settings.from_environment(
        "directory", {"DIRECTORY_TOKEN": TOKEN, "DIRECTORY_DSN": "postgresql://u:geheim@h/d"}
    )

    assert TOKEN not in repr(settings)
    assert "geheim" not in repr(settings)
