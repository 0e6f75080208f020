"""Auth's pages in a real browser: passkeys, the keyboard, a phone. Pictures are kept in each test's own folder."""

from __future__ import annotations

from pathlib import Path

from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions
from selenium.webdriver.support.wait import WebDriverWait

from tests.services.auth.conftest import App, Auth, Member

PATIENCE_S = 20.0
PHONE = (375, 812)


def enter(browser: WebDriver, auth: Auth, member: Member) -> None:
    """Address and password, by keyboard alone: the first field has the focus."""
    browser.get(f"{auth.issuer}/login")
    focused(browser, "address")
    press(browser, member.address, Keys.TAB, member.password, Keys.ENTER)


def focused(browser: WebDriver, id: str) -> None:
    WebDriverWait(browser, PATIENCE_S).until(
        lambda found: found.switch_to.active_element.get_attribute("id") == id, f"{id} hasn't got the focus"
    )


def press(browser: WebDriver, *keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def arrived(browser: WebDriver, title: str) -> None:
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.title == title, f"not {title!r}")


def click(browser: WebDriver, words: str) -> None:
    wanted = f"//button[normalize-space()='{words}'] | //a[normalize-space()='{words}']"
    # Found before the page is whole: until its script has run, a passkey's form is hidden.
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.find_element(By.XPATH, wanted).is_displayed())
    browser.find_element(By.XPATH, wanted).click()


def log_out(browser: WebDriver, auth: Auth) -> None:
    browser.get(f"{auth.issuer}/logout")
    click(browser, "Log out")
    arrived(browser, "You are logged out")


def plug_in_key(browser: WebDriver) -> None:
    """A security key that somebody touches whenever it blinks."""
    options = VirtualAuthenticatorOptions(
        protocol=VirtualAuthenticatorOptions.Protocol.CTAP2, transport=VirtualAuthenticatorOptions.Transport.USB
    )
    browser.add_virtual_authenticator(options)


def with_passkey(browser: WebDriver, auth: Auth) -> tuple[Member, list[str]]:
    """A member who has made one in this browser and is logged out again; their recovery codes."""
    plug_in_key(browser)
    member = auth.member()
    enter(browser, auth, member)
    arrived(browser, "You are logged in")
    click(browser, "Add a second factor")
    click(browser, "Make a passkey")
    arrived(browser, "Keep these codes")
    codes = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".codes li")]
    log_out(browser, auth)
    return member, codes


def test_somebody_logs_in_with_a_passkey_and_not_without(browser: WebDriver, auth: Auth) -> None:
    member, codes = with_passkey(browser, auth)

    enter(browser, auth, member)
    arrived(browser, "Your second factor")
    browser.get(f"{auth.issuer}/account")
    arrived(browser, "Log in")
    enter(browser, auth, member)
    click(browser, "Use a passkey")
    arrived(browser, "You are logged in")

    renewed = auth.events(member, "login.succeeded")[-1]
    assert (renewed["after"]["acr"], renewed["after"]["amr"]) == ("urn:rireki:acr:two-factors", ["pwd", "hwk", "mfa"])
    assert len(codes) == 10


def test_without_the_key_the_page_says_so_and_a_recovery_code_helps(browser: WebDriver, auth: Auth) -> None:
    member, codes = with_passkey(browser, auth)
    browser.remove_all_credentials()

    enter(browser, auth, member)
    click(browser, "Use a passkey")
    alert = (By.CSS_SELECTOR, "form[data-passkey] [role=alert]")
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.find_element(*alert).is_displayed())
    browser.find_element(By.ID, "code").send_keys(codes[0], Keys.ENTER)

    arrived(browser, "You are logged in")


def test_a_copied_key_is_refused_because_its_counter_went_back(browser: WebDriver, auth: Auth) -> None:
    member, _ = with_passkey(browser, auth)
    auth.platform.database.execute(
        f"UPDATE auth.webauthn_credentials SET sign_count = 1000 WHERE tenant_id = '{member.tenant}'"
    )

    enter(browser, auth, member)
    click(browser, "Use a passkey")

    WebDriverWait(browser, PATIENCE_S).until(lambda found: "didn't work" in found.page_source)
    assert [event["after"]["failed_in_a_row"] for event in auth.events(member, "login.failed")] == [1]


def test_a_key_that_is_known_is_not_made_twice(browser: WebDriver, auth: Auth) -> None:
    member, _ = with_passkey(browser, auth)
    enter(browser, auth, member)
    click(browser, "Use a passkey")
    arrived(browser, "You are logged in")

    click(browser, "Add a second factor")
    click(browser, "Make a passkey")

    alert = (By.CSS_SELECTOR, "form[data-passkey] [role=alert]")
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.find_element(*alert).is_displayed())
    assert len(auth.events(member, "factor.enrolled")) == 2  # the key and the recovery codes, from before


def test_every_page_fits_a_phone_and_works_by_keyboard(browser: WebDriver, auth: Auth, tmp_path: Path) -> None:
    browser.set_window_size(*PHONE)
    member = auth.member(name="佐藤 陽子")
    other = auth.browser()
    other.log_in(member)

    elsewhere = auth.member(name="佐藤 陽子", email=member.address)
    enter(browser, auth, elsewhere)
    arrived(browser, "For whom do you work now?")
    look(browser, tmp_path, "For whom do you work now?")
    auth.directory.do(f"/v1/users/{elsewhere.id}/suspend", version=2)
    browser.get(auth.enrolment(member))
    look(browser, tmp_path, "Choose your password")
    browser.get(f"{auth.issuer}/login")
    look(browser, tmp_path, "Log in")
    enter(browser, auth, member)
    arrived(browser, "You are logged in")
    browser.get(f"{auth.issuer}/account/second-factor")
    look(browser, tmp_path, "Set up a second factor")
    seed = browser.find_element(By.CLASS_NAME, "seed").text.replace(" ", "")
    browser.find_element(By.ID, "label").send_keys(Keys.TAB)
    focused(browser, "code")
    press(browser, App(seed).code(), Keys.ENTER)
    arrived(browser, "Keep these codes")
    look(browser, tmp_path, "Keep these codes")
    browser.get(f"{auth.issuer}/account")
    look(browser, tmp_path, "You are logged in")
    browser.get(f"{auth.issuer}/account/password")
    look(browser, tmp_path, "Change your password")
    browser.get(f"{auth.issuer}/logout")
    look(browser, tmp_path, "Log out?")
    log_out(browser, auth)
    enter(browser, auth, member)
    arrived(browser, "Your second factor")
    look(browser, tmp_path, "Your second factor")
    focused(browser, "code")
    press(browser, "000000", Keys.ENTER)
    WebDriverWait(browser, PATIENCE_S).until(lambda found: "didn't work" in found.page_source)
    look(browser, tmp_path, "Your second factor", "failed")


def look(browser: WebDriver, folder: Path, title: str, more: str = "") -> None:
    """Nothing is cut off, everything that takes a click is large enough for a thumb and reached by Tab."""
    assert browser.title == title
    browser.save_screenshot(str(folder / f"{title.rstrip('?')}{more}.png"))
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"), title
    targets = browser.execute_script(
        "return [...document.querySelectorAll('a, button, input:not([type=hidden])')]"
        ".filter((e) => e.checkVisibility()).map((e) => [e.outerHTML, e.getBoundingClientRect().height, e.tabIndex])"
    )
    assert targets or title == "You are logged out"
    assert [told for told, height, tab in targets if height < 36 or tab < 0] == []
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('input:not([type=hidden])')].filter((e) => !e.labels.length).length"
    )
    assert unnamed == 0
