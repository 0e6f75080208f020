"""openid-client (certified) logs people in at auth; oidc-provider (certified) lets auth's own users in.

That a certified client is content is no certificate of ours: see docs/auth.md.
"""

from __future__ import annotations

import json
import re
from typing import Any

from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from infra.ports import free_port
from services.auth.sessions import ONE_FACTOR, TWO_FACTORS
from tests.oidc.conftest import Product, program
from tests.services.auth.conftest import App, Auth, Member

PATIENCE_S = 30.0
UPSTREAM_SECRET = "the secret that both sides keep"


def shown(browser: WebDriver, product: Product, path: str) -> dict[str, Any]:
    """What the product tells once the browser is there."""
    WebDriverWait(browser, PATIENCE_S).until(
        lambda found: found.current_url.startswith(f"{product.url}{path}"), f"{browser.current_url} isn't {path}"
    )
    told: dict[str, Any] = json.loads(browser.find_element(By.TAG_NAME, "pre").text)
    assert "failed" not in told or path.startswith("/refresh"), told
    return told


def visit(browser: WebDriver, product: Product, path: str) -> dict[str, Any]:
    browser.get(f"{product.url}{path}")
    return shown(browser, product, path)


def type_in(browser: WebDriver, css: str, *keys: str) -> None:
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.find_elements(By.CSS_SELECTOR, css), f"no {css}")
    browser.find_element(By.CSS_SELECTOR, css).send_keys(*keys)


def press(browser: WebDriver, words: str) -> None:
    wanted = (By.XPATH, f"//*[self::button or self::a][starts-with(normalize-space(), '{words}')]")
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.find_elements(*wanted), f"no {words}")
    browser.find_element(*wanted).click()


def log_in(browser: WebDriver, product: Product, member: Member, query: str = "") -> None:
    browser.get(f"{product.url}/login{query}")
    type_in(browser, "#address", member.address)
    type_in(browser, "#password", member.password, Keys.ENTER)


def with_two_factors(browser: WebDriver, auth: Auth, product: Product) -> tuple[Member, dict[str, Any]]:
    """A member who has set up an app because the product asked for it, and what the product then knows."""
    member = auth.member(name="佐藤 陽子")
    log_in(browser, product, member, f"?acr_values={TWO_FACTORS}")
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.find_elements(By.CLASS_NAME, "seed"))
    app = App(re.sub(r"\s", "", browser.find_element(By.CLASS_NAME, "seed").text))
    type_in(browser, "#code", app.code(), Keys.ENTER)
    press(browser, "Go on")
    return member, shown(browser, product, "/callback")


def test_a_certified_client_logs_in_with_a_second_factor_refreshes_and_logs_out(
    browser: WebDriver, auth: Auth, product: Product
) -> None:
    member, told = with_two_factors(browser, auth, product)

    claims = told["claims"]
    assert (claims["sub"], claims["acr"], claims["amr"]) == (member.id, TWO_FACTORS, ["pwd", "otp", "mfa"])
    assert told["userinfo"]["name"] == "佐藤 陽子" and told["userinfo"]["tenant"]["id"] == member.tenant
    refreshed = visit(browser, product, "/refresh")
    assert (refreshed["claims"]["sub"], refreshed["claims"]["acr"]) == (member.id, TWO_FACTORS)
    assert visit(browser, product, "/introspect")["active"] is True

    browser.get(f"{product.url}/logout")

    assert shown(browser, product, "/goodbye") == {"state": "over"}
    assert visit(browser, product, "/introspect") == {"active": False}
    assert visit(browser, product, "/refresh")["failed"]["oauth"] == "invalid_grant"
    browser.get(f"{product.url}/login")
    WebDriverWait(browser, PATIENCE_S).until(lambda found: found.title == "Log in")


def test_a_certified_client_sees_a_stolen_refresh_token_end_the_whole_family(
    browser: WebDriver, auth: Auth, product: Product
) -> None:
    member, _ = with_two_factors(browser, auth, product)
    visit(browser, product, "/refresh")

    stolen = visit(browser, product, "/refresh-with-the-first")

    assert stolen["failed"]["oauth"] == "invalid_grant"
    assert visit(browser, product, "/refresh")["failed"]["oauth"] == "invalid_grant"
    assert visit(browser, product, "/introspect") == {"active": False}
    assert auth.events(member, "grant.revoked")[-1]["after"]["revoked_by"] == "token_reused"


def test_a_certified_client_revokes(browser: WebDriver, auth: Auth, product: Product) -> None:
    log_in(browser, product, auth.member())
    assert shown(browser, product, "/callback")["claims"]["acr"] == ONE_FACTOR

    visit(browser, product, "/revoke")

    assert visit(browser, product, "/introspect") == {"active": False}


def test_users_of_a_certified_provider_log_in_once_they_have_connected_their_login(
    browser: WebDriver, auth: Auth, product: Product, node: str
) -> None:
    member, port = auth.member(), free_port()
    auth.operator.tenant = member.tenant
    auth.operator.do(
        "/v1/upstreams",
        {
            "slug": "sakura-group",
            "name": "Sakura Group",
            "issuer": f"http://localhost:{port}",
            "client_id": "rireki",
            "client_secret": UPSTREAM_SECRET,
        },
    )
    with program(node, "upstream.mjs", str(port), f"{auth.issuer}/sso/callback", "rireki", UPSTREAM_SECRET):
        log_in(browser, product, member)
        shown(browser, product, "/callback")
        browser.get(f"{auth.issuer}/account")
        press(browser, "Connect")
        at_the_provider(browser, "sato")
        WebDriverWait(browser, PATIENCE_S).until(lambda found: "Disconnect" in found.page_source)
        browser.get(f"{auth.issuer}/logout")
        press(browser, "Log out")
        WebDriverWait(browser, PATIENCE_S).until(lambda found: found.title == "You are logged out")

        browser.get(f"{product.url}/login")
        press(browser, "Log in at your organisation")
        type_in(browser, "#slug", "sakura-group", Keys.ENTER)
        told = shown(browser, product, "/callback")

    assert (told["claims"]["sub"], told["claims"]["amr"]) == (member.id, ["fed"])


def at_the_provider(browser: WebDriver, login: str) -> None:
    """Its own pages: who are you, and may we be told."""
    type_in(browser, "[name=login]", login)
    type_in(browser, "[name=password]", "any", Keys.ENTER)
    press(browser, "Continue")
