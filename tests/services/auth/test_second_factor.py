"""A second factor: setting it up, showing it, losing it."""

from __future__ import annotations

from joserfc import jwt
from joserfc.jwk import KeySet

from services.auth import totp
from services.auth.sessions import ONE_FACTOR, TWO_FACTORS
from tests.services.auth.conftest import App, Auth, Browser, Member, age, came_back, product, recovery_codes

NEEDS_TWO = {"acr_values": TWO_FACTORS}


def claims(auth: Auth, browser: Browser, code: str) -> dict[str, object]:
    keys = KeySet.import_key_set(browser.http.get("/jwks").json())
    return jwt.decode(browser.exchange(code).json()["id_token"], keys).claims


def with_app(auth: Auth) -> tuple[Member, App, list[str]]:
    """A member with an authenticator app; it hasn't been used since."""
    member, browser = auth.member(), auth.browser()
    browser.log_in(member)
    app, page = browser.set_up_app()
    auth.forget_used_codes(member)
    return member, app, recovery_codes(page)


def test_a_product_that_insists_gets_two_factors_and_tokens_say_which(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()

    set_up = browser.log_in(member, **NEEDS_TWO)
    _, codes = browser.set_up_app(set_up)
    told = came_back(browser.get(onward(codes.text)))

    claimed = claims(auth, browser, told["code"])
    assert (claimed["acr"], claimed["amr"]) == (TWO_FACTORS, ["pwd", "otp", "mfa"])
    assert len(recovery_codes(codes)) == 10
    assert [event["after"]["kind"] for event in auth.events(member, "factor.enrolled")] == ["totp", "recovery"]


def test_who_has_a_second_factor_shows_it_at_every_login(auth: Auth) -> None:
    member, app, _ = with_app(auth)
    browser = auth.browser()

    asked = browser.log_in(member)
    answer = browser.submit(asked, "/second", code=app.code())

    assert asked.status_code == 200 and "app" in asked.text
    assert claims(auth, browser, came_back(answer)["code"])["acr"] == TWO_FACTORS


def test_a_password_alone_opens_no_session_where_there_is_a_second_factor(auth: Auth) -> None:
    member, _, _ = with_app(auth)
    browser = auth.browser()

    browser.log_in(member)

    assert browser.get("/account").url.path == "/login"
    assert came_back(browser.authorize(prompt="none"))["error"] == "login_required"


def test_a_code_that_was_used_is_refused_also_in_another_browser(auth: Auth) -> None:
    member, app, _ = with_app(auth)
    first, second = auth.browser(), auth.browser()
    code = app.code()

    accepted = first.submit(first.log_in(member), "/second", code=code)
    replayed = second.submit(second.log_in(member), "/second", code=code)
    next_one = second.submit(second.log_in(member), "/second", code=app.code(1))

    assert came_back(accepted)["code"]
    assert replayed.status_code == 422
    assert came_back(next_one)["code"]


def test_a_clock_may_be_half_a_minute_off_and_no_more() -> None:
    seed, now = totp.new_seed(), 1_800_000_000.0
    app = App(seed)

    def step(steps_off: int, after: int = 0) -> int | None:
        import pyotp

        return totp.matching_step(seed, pyotp.TOTP(seed).at(int(now) + 30 * steps_off), after=after, now=now)

    current = int(now // 30)
    assert [step(off) for off in (-2, -1, 0, 1, 2)] == [None, current - 1, current, current + 1, None]
    assert step(0, after=current) is None
    assert (
        totp.matching_step(seed, " 12 ", after=0) is None and totp.matching_step(seed, "１２３４５６", after=0) is None
    )
    assert len(app.code()) == 6


def test_wrong_codes_lock_the_account_like_wrong_passwords(auth: Auth) -> None:
    member, app, codes = with_app(auth)
    browser = auth.browser()
    page = browser.log_in(member)

    for _ in range(5):
        assert browser.submit(page, "/second", code="000000").status_code == 422

    assert browser.submit(page, "/second", code=app.code()).status_code == 422
    assert browser.submit(page, "/second", code=codes[0]).status_code == 422
    assert len(auth.events(member, "login.failed")) == 7
    assert auth.browser().log_in(member).status_code == 422
    auth.operator.tenant = member.tenant
    auth.operator.do(f"/v1/users/{member.id}/unlock")
    assert came_back(browser.submit(browser.log_in(member), "/second", code=app.code()))["code"]


def test_a_recovery_code_works_once_however_it_is_typed(auth: Auth) -> None:
    member, _, codes = with_app(auth)
    browser = auth.browser()

    page = browser.log_in(member)
    used = browser.submit(page, "/second", code=f" {codes[3].upper().replace('-', ' ')}")
    again = browser.submit(browser.log_in(member, prompt="login"), "/second", code=codes[3])

    assert came_back(used)["code"]
    assert again.status_code == 422
    assert "9 left" in browser.get("/account").text
    stored = auth.platform.rows(
        "SELECT code_hash FROM auth.recovery_codes WHERE tenant_id = %s",
        member.tenant,
    )
    assert not any(code.replace("-", "").encode() in bytes(row["code_hash"]) for row in stored for code in codes)


def test_new_recovery_codes_end_the_old_ones(auth: Auth) -> None:
    member, app, codes = with_app(auth)
    browser = auth.browser()
    browser.submit(browser.log_in(member), "/second", code=app.code())

    renewed = recovery_codes(browser.submit("/account", "/account/recovery-codes"))
    old = browser.submit(browser.log_in(member, prompt="login"), "/second", code=codes[0])
    new = browser.submit(browser.log_in(member, prompt="login"), "/second", code=renewed[0])

    assert old.status_code == 422
    assert came_back(new)["code"]


def test_a_step_up_asks_for_the_missing_factor_only_and_keeps_what_products_have(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    tokens = browser.tokens(member)
    verifier = browser.verifier

    page = browser.authorize(**NEEDS_TWO)
    app, codes = browser.set_up_app(page)
    stepped = came_back(browser.get(onward(codes.text)))

    assert 'type="password"' not in page.text and app.seed
    after = claims(auth, browser, stepped["code"])
    before = product(auth, "/introspect", {"token": tokens["access_token"]}).json()
    assert (before["active"], before["acr"], before["sid"]) == (True, ONE_FACTOR, after["sid"])
    browser.verifier = verifier
    assert browser.refresh(tokens["refresh_token"]).status_code == 200
    assert [event["after"]["acr"] for event in auth.events(member, "session.renewed")] == [TWO_FACTORS]


def test_what_the_browser_held_before_a_step_up_is_worth_nothing_after_it(auth: Auth) -> None:
    member, browser, thief = auth.member(), auth.browser(), auth.browser()
    browser.log_in(member)
    thief.http.cookies.update(browser.http.cookies)

    browser.set_up_app()

    assert came_back(thief.authorize(prompt="none"))["error"] == "login_required"
    assert came_back(browser.authorize(prompt="none"))["code"]


def test_a_login_that_ended_cannot_be_ended_again(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    page = browser.authorize()

    first = browser.submit(page, address=member.address, password=member.password)
    replayed = browser.submit(page, address=member.address, password=member.password)

    assert came_back(first)["code"]
    assert (replayed.status_code, "expired" in replayed.text) == (422, True)


def test_a_password_alone_cannot_add_a_factor_beside_the_one_that_is_there(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    set_up = browser.log_in(member, **NEEDS_TWO)  # somebody knows the password, and leaves this page open
    with_own = auth.browser()
    with_own.log_in(member)
    with_own.set_up_app()

    answer = browser.submit(set_up, "/set-up/app", code=App.scan(set_up).code())

    assert answer.status_code == 422
    assert [event["after"]["kind"] for event in auth.events(member, "factor.enrolled")] == ["totp", "recovery"]


def test_a_short_password_comes_into_force_with_its_factor_and_not_before(auth: Auth) -> None:
    member = auth.member(password=None)
    link, browser = auth.enrolment(member), auth.browser()
    short = {"password": "kippu-92", "again": "kippu-92"}

    set_up = browser.submit(link, **short)
    before = auth.browser().submit("/login", address=member.address, password="kippu-92")
    app, _ = browser.set_up_app(set_up)
    auth.forget_used_codes(member)

    assert before.status_code == 422
    other = auth.browser()
    page = other.submit("/login", address=member.address, password="kippu-92")
    assert other.submit(page, "/second", code=app.code()).headers["Location"] == "/account"
    assert auth.events(member, "password.set")[-1]["after"]["needs_second_factor"] is True
    removed = other.submit("/account", remove_action(other))
    assert (removed.status_code, "too short" in removed.text) == (422, True)


def test_an_operator_resets_lost_factors_and_a_short_password_falls_with_them(auth: Auth) -> None:
    member = auth.member(password=None)
    browser = auth.browser()
    browser.set_up_app(browser.submit(auth.enrolment(member), password="kippu-92", again="kippu-92"))

    auth.operator.do(f"/v1/users/{member.id}/reset-factors", {"reason": "lost phone, came in person"})

    assert browser.get("/account").url.path == "/login"
    refused = auth.browser().submit("/login", address=member.address, password="kippu-92")
    assert (refused.status_code, "Ask for a new link" in refused.text) == (422, True)
    assert auth.platform.count("auth.totp_seeds", member.tenant) == 0
    assert auth.platform.count("auth.recovery_codes", member.tenant) == 0


def test_removing_the_last_factor_deletes_what_proved_it_and_ends_other_sessions(auth: Auth) -> None:
    member, app, _ = with_app(auth)
    browser, elsewhere = auth.browser(), auth.browser()
    elsewhere.submit(elsewhere.log_in(member), "/second", code=app.code())
    browser.submit(browser.log_in(member), "/second", code=app.code(1))

    answer = browser.submit("/account", remove_action(browser))

    assert answer.headers["Location"] == "/account"
    assert auth.platform.count("auth.totp_seeds", member.tenant) == 0
    assert elsewhere.get("/account").url.path == "/login"
    assert browser.get("/account").url.path == "/account"


def onward(page: str) -> str:
    """Where the page's last button leads."""
    import html

    return html.unescape(page.rsplit('class="button" href="', 1)[1].split('"')[0])


def remove_action(browser: Browser) -> str:
    page = browser.get("/account").text
    return "/account/factors/" + page.split("/account/factors/")[1].split('"')[0]


def test_a_first_factor_is_set_up_only_by_who_has_lately_shown_the_password(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    browser.log_in(member)
    age(auth, member, authenticated_at="11 minutes")

    asked = browser.authorize(**NEEDS_TWO)
    entered = browser.submit(asked, address=member.address, password=member.password)

    assert 'type="password"' in asked.text and "seed" not in asked.text
    assert "Set up a second factor" in entered.text


def test_a_page_left_open_adds_no_factor_beside_one_that_came_meanwhile(auth: Auth) -> None:
    member, browser, elsewhere = auth.member(), auth.browser(), auth.browser()
    browser.log_in(member)
    open_page = browser.get("/account/second-factor")
    elsewhere.log_in(member)
    elsewhere.set_up_app()

    answer = browser.submit(open_page, "/set-up/app", code=App.scan(open_page).code())

    assert answer.status_code == 422
    assert [event["after"]["kind"] for event in auth.events(member, "factor.enrolled")] == ["totp", "recovery"]


def test_a_second_app_is_added_by_who_has_shown_two_factors(auth: Auth) -> None:
    member, app, _ = with_app(auth)
    browser = auth.browser()
    browser.submit(browser.log_in(member), "/second", code=app.code())

    other, page = browser.set_up_app()

    assert recovery_codes(page) == []  # those from before still hold
    auth.forget_used_codes(member)
    for each in (app, other):
        own = auth.browser()
        assert came_back(own.submit(own.log_in(member), "/second", code=each.code()))["code"]
