"""A person's sessions: one per browser, listed, ended, and over by themselves."""

from __future__ import annotations

from services.auth.pages import device
from services.journal.expire import expire
from tests.services.auth.conftest import Auth, Browser, Member, age, came_back

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1"
COUNTER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0"


def logged_in(auth: Auth, member: Member, agent: str) -> Browser:
    browser = auth.browser()
    browser.http.headers["User-Agent"] = agent
    browser.log_in(member)
    return browser


def test_each_browser_is_told_by_its_device_and_the_one_at_hand_is_marked(auth: Auth) -> None:
    member = auth.member()
    logged_in(auth, member, PHONE)
    counter = logged_in(auth, member, COUNTER)

    page = counter.get("/account").text

    assert "Safari on an iPhone" in page and "Edge on Windows" in page
    assert page.index("(here)") - page.index("Edge on Windows") in range(40)


def test_a_session_ended_from_another_browser_is_over_with_all_that_it_let_products_do(auth: Auth) -> None:
    member = auth.member()
    phone, counter = auth.browser(), auth.browser()
    tokens = phone.tokens(member)
    counter.log_in(member)

    answer = counter.submit("/account", end_action(counter))

    assert answer.headers["Location"] == "/account"
    assert phone.get("/account").url.path == "/login"
    assert phone.refresh(tokens["refresh_token"]).status_code == 400
    assert [event["after"]["ended_by"] for event in auth.events(member, "session.ended")][-1] == "revoked"


def test_somebody_elses_session_cannot_be_ended(auth: Auth) -> None:
    tenant = auth.directory.found()
    one, other = auth.member(tenant=tenant), auth.member(tenant=tenant)
    mine, theirs = auth.browser(), auth.browser()
    auth.browser().log_in(one)  # so that the page has a form
    mine.log_in(one)
    theirs.log_in(other)
    (their_session,) = {event["aggregate_id"] for event in auth.events(other, "login.succeeded")[-1:]}
    form = mine.get("/account")
    csrf = form.text.split('name="csrf" value="')[1].split('"')[0]

    mine.http.post(f"/account/sessions/{their_session}/end", data={"csrf": csrf})
    mine.http.post(f"/account/sessions/{their_session}/end", data={"csrf": "0" * 64})

    assert theirs.get("/account").url.path == "/account"
    assert len(auth.events(other, "session.ended")) == 0


def test_a_session_that_nobody_uses_is_over_after_half_an_hour(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    tokens = browser.tokens(member)

    age(auth, member, last_seen_at="29 minutes")
    assert browser.get("/account").url.path == "/account"
    age(auth, member, last_seen_at="31 minutes")

    assert browser.get("/account").url.path == "/login"
    assert browser.refresh(tokens["refresh_token"]).status_code == 400


def test_a_session_in_use_is_over_after_a_working_day(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    tokens = browser.tokens(member)

    age(auth, member, expires_at="12 hours")

    assert browser.get("/account").url.path == "/login"
    assert browser.refresh(tokens["refresh_token"]).status_code == 400
    assert browser.userinfo(tokens["access_token"]).status_code == 401


def test_what_proves_somebody_changes_only_after_they_have_shown_it_lately(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    browser.log_in(member)
    assert browser.get("/account/second-factor").url.path == "/account/second-factor"

    age(auth, member, authenticated_at="11 minutes")
    asked = browser.get("/account/second-factor")
    answer = browser.submit(asked, address=member.address, password=member.password)

    assert asked.url.path == "/login"
    assert answer.headers["Location"] == "/account/second-factor"
    assert came_back(browser.authorize(prompt="none", max_age="60"))["code"]


def test_a_product_may_ask_how_long_ago_somebody_logged_in(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    browser.log_in(member)
    age(auth, member, authenticated_at="11 minutes")

    assert came_back(browser.authorize(prompt="none", max_age="700"))["code"]
    assert came_back(browser.authorize(prompt="none", max_age="600"))["error"] == "login_required"


def test_somebody_else_in_the_same_browser_ends_the_session_before(auth: Auth) -> None:
    one, other, browser = auth.member(), auth.member(), auth.browser()
    tokens = browser.tokens(one)

    browser.log_in(other, prompt="login")

    assert browser.userinfo(tokens["access_token"]).status_code == 401
    assert [event["after"]["ended_by"] for event in auth.events(one, "session.ended")][-1] == "replaced"


def test_a_device_that_is_not_known_is_said_as_it_is() -> None:
    assert device.named("curl/8.5.0") == "curl/8.5.0"
    assert device.named(None) == device.named("") == "An unknown browser"


def end_action(browser: Browser) -> str:
    page = browser.get("/account").text
    return "/account/sessions/" + page.split('action="/account/sessions/')[1].split('"')[0]


def test_what_sessions_long_over_left_behind_is_forgotten_and_their_history_stays(auth: Auth) -> None:
    old, alive = auth.member(), auth.member()
    auth.browser().tokens(old)
    browser = auth.browser()
    tokens = browser.tokens(alive)
    age(auth, old, expires_at="31 days")

    expire(auth.platform.admin_dsn, days=30)

    for table in ("codes", "refresh_tokens", "session_handles"):
        assert auth.platform.count(f"auth.{table}", old.tenant) == 0, table
        assert auth.platform.count(f"auth.{table}", alive.tenant) >= 1, table
    assert auth.platform.count("auth.sessions", old.tenant) == 2  # from the enrolment, and from the login
    assert auth.platform.count("auth.grants", old.tenant) == 1
    assert browser.refresh(tokens["refresh_token"]).status_code == 200
