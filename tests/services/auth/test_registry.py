"""The commands that register products and rotate keys."""

from __future__ import annotations

import base64
import getpass
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString
from unittest.mock import patch
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import errors as pg

from services.auth import registry
from services.auth.handle import NOBODY
from services.journal.backfill import backfill
from services.journal.verify import verify
from services.migrate.apply import migrate
from services.migrate.files import FOLDERS
from tests.conftest import Database
from tests.services.auth.conftest import BACK, MASTER_KEY, Auth, came_back, product
from tests.services.conftest import PASSWORDS


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


def _told(auth: Auth, id: str) -> list[tuple[str, str, str, str | None]]:
    rows = auth.platform.rows("SELECT * FROM auth.events WHERE aggregate_id = %s ORDER BY aggregate_version", id)
    assert {row["tenant_id"] for row in rows} == {NOBODY}
    return [(row["event_type"], row["actor_type"], row["actor_id"], row["reason"]) for row in rows]


def test_each_change_of_a_product_says_who_did_it_and_why(auth: Auth, run: Any) -> None:
    register(run, "dispensing.four")
    (id,) = [each["id"] for each in run("clients", "list")[1] if each["client_id"] == "dispensing.four"]
    sato = ("--actor", "operator:sato", "--reason", "the secret was in a mail")

    run(*sato, "clients", "new-secret", "dispensing.four")
    run(*sato, "clients", "end-old-secrets", "dispensing.four")
    nothing_left = run(*sato, "clients", "end-old-secrets", "dispensing.four")
    run(*sato, "clients", "end", "dispensing.four")

    by_sato = ("operator", "operator:sato", "the secret was in a mail")
    assert nothing_left[1] == [{"client_id": "dispensing.four", "ended": 0}]
    assert _told(auth, id) == [
        ("client.registered", "operator", f"operator:{getpass.getuser()}", None),
        ("client_secret.added", *by_sato),
        ("client_secrets.ended", *by_sato),
        ("client.ended", *by_sato),
    ]


def test_each_rotation_says_who_did_it_and_why_and_tells_no_private_key(auth: Auth, run: Any) -> None:
    run("--actor", "operator:sato", "--reason", "it has leaked", "keys", "rotate", "--at-once")

    keys = {each["state"]: each["id"] for each in reversed(run("keys", "list")[1])}
    by_sato = ("operator", "operator:sato", "it has leaked")
    assert _told(auth, keys["next"]) == [("signing_key.made", *by_sato)]
    assert _told(auth, keys["current"])[-1] == ("signing_key.promoted", *by_sato)
    after = auth.platform.rows(
        "SELECT after -> 'public_jwk' AS jwk FROM auth.events WHERE aggregate_type = 'signing_key'"
    )
    assert all(set(row["jwk"]) == {"alg", "e", "kid", "kty", "n", "use"} for row in after)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth.clients SET name = 'x'",
        "UPDATE auth.clients SET name = 'x', version = version + 1",
        "UPDATE auth.signing_keys SET public_jwk = '{}', version = version + 1",
        "DELETE FROM auth.signing_key_secrets; DELETE FROM auth.signing_keys",
    ],
)
def test_sql_that_changes_a_product_or_a_key_without_an_event_is_refused_also_to_the_superuser(
    auth: Auth, statement: LiteralString
) -> None:
    with psycopg.connect(auth.platform.admin_dsn) as admin:
        admin.execute(statement)

        with pytest.raises(pg.IntegrityConstraintViolation, match="has no event for"):
            admin.commit()


@pytest.mark.parametrize("table", ["clients", "signing_keys"])
def test_a_product_or_a_key_can_belong_to_no_tenant(auth: Auth, table: LiteralString) -> None:
    with psycopg.connect(auth.platform.admin_dsn) as admin, pytest.raises(pg.CheckViolation):
        admin.execute(f"UPDATE auth.{table} SET tenant_id = %s", (uuid4(),))


def test_products_and_keys_from_before_get_their_events(database: Database, tmp_path: Path) -> None:
    before = []
    for folder in FOLDERS:
        unlike = shutil.ignore_patterns("*.py", "__pycache__", "guard.sql", "0019_events_of_configuration.sql")
        shutil.copytree(folder.path, tmp_path / folder.schema, ignore=unlike)
        before.append(replace(folder, path=tmp_path / folder.schema))
    migrate(database.dsn, PASSWORDS, before)
    with database.connect() as admin:
        admin.execute(
            "INSERT INTO auth.clients (client_id, name, auth_method, redirect_uris, scopes, may_refresh) "
            "SELECT 'old.' || n, 'x', 'none', '{x}', '{}', true FROM generate_series(1, 3) AS n"
        )
        admin.execute(
            "INSERT INTO auth.signing_keys (kid, public_jwk, state, current_at) "
            "VALUES ('old-key-1', '{}', 'current', now())"
        )
    assert migrate(database.dsn, {}).applied == ["auth/0019_events_of_configuration.sql"]

    written = backfill(database.dsn, tell=lambda *_: None)

    assert written == {"client": 3, "signing_key": 1}
    assert [table for table in verify(database.dsn) if table.differing] == []
