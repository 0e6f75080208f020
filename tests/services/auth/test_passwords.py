"""What a password must be, and how its hash is kept."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from argon2 import PasswordHasher

from services.auth import passwords
from services.auth.passwords import PasswordRefused, accept
from tests.services.auth.conftest import Auth, Member, came_back

ABOUT = ("佐藤 陽子", "yoko.sato@sakura.example")


@pytest.mark.parametrize(
    ("password", "stands_alone"),
    [
        ("correct horse battery", True),
        ("きょうはあめがふっているね", True),  # thirteen
        ("kippu-92", False),
        ("ｋｉｐｐｕ－９２", False),  # the same on another keyboard
    ],
)
def test_a_long_one_stands_alone_and_a_short_one_needs_a_factor(password: str, stands_alone: bool) -> None:
    assert accept(password, about=ABOUT) is stands_alone


@pytest.mark.parametrize(
    "password",
    [
        "",
        "kip-92",
        "きょうはあめがふっている",
        "kippukippu",
        "12345678",
        "kippu9200",
        "aaaaaaaaaaaaaaa",
        "Password",
        "PASSWORD123!",
        "pharmacy-2026",
        "yoko.sato-1",
        "佐藤陽子-2026",
        "x" * 201,
    ],
)
def test_what_guessers_try_first_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused):
        accept(password, about=ABOUT)


def test_what_looks_alike_is_one_password() -> None:
    kept = passwords.hashed("ガラス戸の薬局です2026")

    assert passwords.matches("ｶﾞﾗｽ戸の薬局です２０２６", kept)
    assert not passwords.matches("カラス戸の薬局です2026", kept)


def test_a_hash_of_lower_cost_is_made_anew_at_the_next_login(auth: Auth) -> None:
    member = auth.member()
    weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(member.password)
    auth.platform.database.execute(f"UPDATE auth.passwords SET hash = '{weak}' WHERE tenant_id = '{member.tenant}'")

    first = came_back(auth.browser().log_in(member))

    (kept,) = auth.platform.rows("SELECT hash FROM auth.passwords WHERE tenant_id = %s", member.tenant)
    assert first["code"] and passwords.outdated(weak) and not passwords.outdated(kept["hash"])
    assert came_back(auth.browser().log_in(member))["code"]


def test_the_page_says_the_rule_that_holds(auth: Auth) -> None:
    member, browser = auth.member(password=None), auth.browser()
    link = auth.enrolment(member)

    page = browser.get(link)
    seven = browser.submit(link, password="kip-921", again="kip-921")
    eight = browser.submit(link, password="kippu-92", again="kippu-92")
    thirteen = browser.submit(link, password="ame ga furu yo", again="ame ga furu yo")

    assert f"At least {passwords.ALONE} characters, or at least {passwords.WITH_FACTOR} " in page.text
    assert [seven.status_code, eight.status_code, thirteen.status_code] == [422, 200, 303]
    assert "Set up a second factor" in eight.text


def test_somebody_changes_their_password_and_whoever_knew_the_old_one_is_out(auth: Auth) -> None:
    member, browser, elsewhere = auth.member(), auth.browser(), auth.browser()
    browser.log_in(member)
    elsewhere.log_in(member)

    refused = browser.submit("/account/password", password="kippu-92", again="kippu-92")
    differing = browser.submit("/account/password", password="ame ga furu yo", again="ame ga furu ne")
    changed = browser.submit("/account/password", password="ame ga furu yo", again="ame ga furu yo")

    assert (refused.status_code, "second factor first" in refused.text) == (422, True)
    assert (differing.status_code, changed.headers.get("Location")) == (422, "/account")
    assert browser.get("/account").url.path == "/account"
    assert elsewhere.get("/account").url.path == "/login"
    assert auth.browser().log_in(member).status_code == 422
    assert came_back(auth.browser().log_in(replace(member, password="ame ga furu yo")))["code"]


def test_a_password_is_changed_by_no_link_of_somebody_else(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    browser.log_in(member)

    browser.http.post("/account/password", data={"csrf": "0" * 64, "password": "x" * 20, "again": "x" * 20})

    assert came_back(auth.browser().log_in(member))["code"]
    assert len(auth.events(member, "password.set")) == 1


def test_who_is_invited_prepares_and_logs_in_from_the_day_of_activation(auth: Auth) -> None:
    auth.directory.found()
    for password in ("ame ga furu yo", "kippu-92"):
        address = f"{uuid4().hex[:12]}@sakura.example"
        user, browser = auth.directory.user(email=address), auth.browser()
        member = Member(str(auth.directory.tenant), user["id"], address, password)

        answer = browser.submit(auth.enrolment(member), password=password, again=password)
        app = browser.set_up_app(answer)[0] if password == "kippu-92" else None
        too_early = auth.browser().log_in(member)
        auth.directory.do(f"/v1/users/{member.id}/activate", version=1)
        auth.forget_used_codes(member)
        page = browser.log_in(member)

        assert app is not None or "You are prepared" in answer.text
        assert too_early.status_code == 422
        assert came_back(browser.submit(page, "/second", code=app.code()) if app else page)["code"]
