"""The commands that register products and rotate keys."""

from __future__ import annotations

import base64
import json
import os
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from services.auth import registry
from tests.services.auth.conftest import BACK, MASTER_KEY, Auth, came_back, product


@pytest.fixture
def run(auth: Auth, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs one command line; its exit code, its lines, and what it complains of."""
    environment = {
        "AUTH_DSN": auth.platform.dsn_of("auth"),
        "AUTH_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
    }

    def run_(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        capsys.readouterr()
        with patch.dict(os.environ, environment):
            code = registry.main(arguments)
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    return run_


def register(run: Any, client_id: str, *more: str) -> str | None:
    code, (told,), _ = run("clients", "register", client_id, "--name", "Dispensing", "--redirect-uri", BACK, *more)
    assert code == 0
    secret: str | None = told["client_secret"]
    return secret


def test_a_registered_product_logs_people_in_until_it_is_ended(auth: Auth, run: Any) -> None:
    secret = register(run, "dispensing.one")
    member, browser = auth.member(), auth.browser()
    code = browser.code(member, client_id="dispensing.one")
    told = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": browser.verifier}

    tokens = httpx.post(f"{auth.issuer}/token", data=told, auth=("dispensing.one", str(secret)))
    listed = [each["client_id"] for each in run("clients", "list")[1]]
    assert run("clients", "end", "dispensing.one")[0] == 0

    refresh = {"grant_type": "refresh_token", "refresh_token": tokens.json()["refresh_token"]}
    assert tokens.status_code == 200 and "dispensing.one" in listed
    assert httpx.post(f"{auth.issuer}/token", data=refresh, auth=("dispensing.one", str(secret))).status_code == 401
    assert browser.authorize(client_id="dispensing.one").status_code == 400
    assert "dispensing.one" not in [each["client_id"] for each in run("clients", "list")[1]]


def test_a_public_product_has_no_secret_and_asks_for_none(auth: Auth, run: Any) -> None:
    assert register(run, "dispensing.phone", "--public") is None
    member, browser = auth.member(), auth.browser()
    code = browser.code(member, client_id="dispensing.phone")

    told = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": browser.verifier}
    answer = httpx.post(f"{auth.issuer}/token", data={**told, "client_id": "dispensing.phone"})

    assert answer.status_code == 200, answer.text


def test_a_secret_is_changed_over_without_a_gap(auth: Auth, run: Any) -> None:
    first = register(run, "dispensing.two", "--may-introspect")

    def works(secret: str | None) -> bool:
        answer = httpx.post(f"{auth.issuer}/introspect", data={"token": "x"}, auth=("dispensing.two", str(secret)))
        return answer.status_code == 200

    second = run("clients", "new-secret", "dispensing.two")[1][0]["client_secret"]
    both = [works(first), works(second)]
    assert run("clients", "end-old-secrets", "dispensing.two")[1][0]["ended"] == 1

    assert both == [True, True]
    assert [works(first), works(second)] == [False, True]


def test_a_product_that_needs_two_factors_gets_nobody_with_one(auth: Auth, run: Any) -> None:
    register(run, "dispensing.three", "--requires-second-factor")
    member, browser = auth.member(), auth.browser()

    page = browser.log_in(member, client_id="dispensing.three")

    assert "Set up a second factor" in page.text


@pytest.mark.parametrize(
    "arguments",
    [
        ["clients", "register", "X", "--name", "x", "--redirect-uri", BACK],
        ["clients", "register", "good.id", "--name", "", "--redirect-uri", BACK],
        ["clients", "register", "good.id", "--name", "x", "--redirect-uri", "http://product.example/"],
        ["clients", "register", "good.id", "--name", "x", "--redirect-uri", "https://product.example/#x"],
        ["clients", "register", "good.id", "--name", "x", "--redirect-uri", BACK, "--public", "--may-introspect"],
        ["clients", "end", "nobody.knows"],
        ["clients", "new-secret", "nobody.knows"],
    ],
)
def test_what_can_not_be_is_refused_with_its_fix(run: Any, arguments: list[str]) -> None:
    code, lines, complaint = run(*arguments)

    assert (code, lines) == (2, [])
    assert "fix: " in complaint


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AUTH_DSN", raising=False)

    assert registry.main(["keys", "list"]) == 2
    assert "AUTH_DSN" in capsys.readouterr().err


def test_a_rotated_key_signs_what_is_new_and_what_is_old_stays_valid(auth: Auth, run: Any) -> None:
    member, browser = auth.member(), auth.browser()
    old = browser.tokens(member)
    before = {key["kid"] for key in httpx.get(f"{auth.issuer}/jwks").json()["keys"]}

    too_soon = run("keys", "rotate")
    code, (told,), _ = run("keys", "rotate", "--at-once")

    assert too_soon[0] == 2 and "--at-once" in too_soon[2]
    assert code == 0 and told["current"] in before and told["next"] not in before
    states = {each["kid"]: each["state"] for each in run("keys", "list")[1]}
    assert states[told["current"]] == "current" and states[told["next"]] == "next"
    assert sorted(states.values()) == ["current", "next", "retired"]
    assert browser.userinfo(old["access_token"]).status_code == 200
    assert product(auth, "/introspect", {"token": old["access_token"]}).json()["active"] is True
    assert came_back(browser.authorize(prompt="none"))["code"]


def test_an_idle_refresh_token_survives_a_rotation(auth: Auth, run: Any) -> None:
    browser = auth.browser()
    tokens = browser.tokens(auth.member())

    run("keys", "rotate", "--at-once")

    assert browser.refresh(tokens["refresh_token"]).status_code == 200
