"""Whatever works once works once also when it comes several times at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx

from tests.services.auth.conftest import Auth, Browser, Member, recovery_codes

AT_ONCE = 6


def at_once(work: Callable[[int], httpx.Response]) -> list[int]:
    """The answers' status codes, sorted."""
    ready = Barrier(AT_ONCE)

    def one(number: int) -> int:
        ready.wait(30)
        return work(number).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sorted(pool.map(one, range(AT_ONCE)))


def logged_in(auth: Auth) -> tuple[Member, Browser]:
    member, browser = auth.member(), auth.browser()
    browser.log_in(member)
    return member, browser


def test_of_several_that_bring_one_code_one_gets_tokens_and_loses_them(auth: Auth) -> None:
    browser = auth.browser()
    code = browser.code(auth.member())
    given: list[str] = []

    def bring(_: int) -> httpx.Response:
        answer = browser.exchange(code)
        given.extend(token for token in [answer.json().get("access_token")] if token)
        return answer

    assert at_once(bring) == [200] + [400] * (AT_ONCE - 1)
    assert browser.userinfo(given[0]).status_code == 401


def test_of_several_that_bring_one_refresh_token_one_gets_tokens_and_loses_them(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    tokens = browser.tokens(member)

    assert at_once(lambda _: browser.refresh(tokens["refresh_token"])) == [200] + [400] * (AT_ONCE - 1)
    assert browser.userinfo(tokens["access_token"]).status_code == 401
    assert len(auth.events(member, "grant.revoked")) == 1


def test_of_several_that_type_one_code_of_the_app_one_gets_in(auth: Auth) -> None:
    member, browser = logged_in(auth)
    app, _ = browser.set_up_app()
    auth.forget_used_codes(member)
    browsers = [auth.browser() for _ in range(AT_ONCE)]
    pages = [each.log_in(member) for each in browsers]
    code = app.code()

    outcome = at_once(lambda n: browsers[n].submit(pages[n], "/second", code=code))

    assert outcome == [303] + [422] * (AT_ONCE - 1)


def test_of_several_that_type_one_recovery_code_one_gets_in(auth: Auth) -> None:
    member, browser = logged_in(auth)
    codes = recovery_codes(browser.set_up_app()[1])
    browsers = [auth.browser() for _ in range(AT_ONCE)]
    pages = [each.log_in(member) for each in browsers]

    outcome = at_once(lambda n: browsers[n].submit(pages[n], "/second", code=codes[0]))

    assert outcome == [303] + [422] * (AT_ONCE - 1)


def test_of_several_that_open_one_enrolment_one_sets_the_password(auth: Auth) -> None:
    member = auth.member(password=None)
    link = auth.enrolment(member)
    browsers = [auth.browser() for _ in range(AT_ONCE)]
    pages = [each.get(link) for each in browsers]

    def choose(number: int) -> httpx.Response:
        password = f"a password of browser {number}"
        return browsers[number].submit(pages[number], password=password, again=password)

    assert at_once(choose) == [303] + [422] * (AT_ONCE - 1)
    assert len(auth.events(member, "password.set")) == 1


def test_of_several_wrong_passwords_each_is_counted(auth: Auth) -> None:
    member = auth.member()
    browsers = [auth.browser() for _ in range(4)]  # fewer than lock the account
    pages = [each.authorize() for each in browsers]

    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: browsers[n].submit(pages[n], address=member.address, password="wrong wrong wrong"), range(4)
            )
        )

    assert [event["after"]["failed_in_a_row"] for event in auth.events(member, "login.failed")] == [1, 2, 3, 4]
