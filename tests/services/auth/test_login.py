"""Somebody logs in to a product, and the product learns who it is."""

from __future__ import annotations

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.services.auth.conftest import BACK, Auth, came_back


def test_a_member_logs_in_and_the_product_learns_who_it_is_and_where_they_belong(auth: Auth) -> None:
    member = auth.member(name="佐藤 陽子")
    organisation = auth.directory.organisation(name="東日本")
    pharmacy = auth.directory.pharmacy(organisation, name="さくら薬局 新宿店")
    auth.directory.do(f"/v1/users/{member.id}/memberships", {"pharmacy_id": pharmacy["id"], "is_primary": True})
    auth.directory.do(f"/v1/users/{member.id}/role-grants", {"role": "pharmacist", "pharmacy_id": pharmacy["id"]})
    browser = auth.browser()

    told = came_back(browser.log_in(member))
    tokens = browser.exchange(told["code"]).json()

    assert (told["state"], told["iss"]) == ("a state", auth.issuer)
    keys = KeySet.import_key_set(httpx.get(f"{auth.issuer}/jwks").json())
    claims = jwt.decode(tokens["id_token"], keys).claims
    assert (claims["iss"], claims["aud"], claims["sub"]) == (auth.issuer, auth.client_id, member.id)
    assert (claims["nonce"], claims["amr"], claims["tenant_id"]) == ("a nonce", ["pwd"], member.tenant)
    assert browser.userinfo(tokens["access_token"]).json() == {
        "sub": member.id,
        "tenant_id": member.tenant,
        "name": "佐藤 陽子",
        "tenant": {"id": member.tenant, "name": "さくら薬局"},
        "organisations": [],
        "pharmacies": [
            {
                "id": pharmacy["id"],
                "name": "さくら薬局 新宿店",
                "code": None,
                "organisation_id": organisation["id"],
                "primary": True,
            }
        ],
        "roles": [{"role": "pharmacist", "pharmacy_id": pharmacy["id"]}],
    }


def test_discovery_names_what_is_there(auth: Auth) -> None:
    told = httpx.get(f"{auth.issuer}/.well-known/openid-configuration").json()

    assert told["issuer"] == auth.issuer
    for name, url in told.items():
        if name.endswith(("_endpoint", "_uri")):
            assert httpx.get(url).status_code != 404, name
    assert told["code_challenge_methods_supported"] == ["S256"]


def test_a_second_product_visit_needs_no_second_login(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    browser.log_in(member)

    assert came_back(browser.authorize(prompt="none"))["code"]
    assert "password" in browser.authorize(prompt="login").text
    assert "password" in auth.browser().authorize().text


def test_a_login_that_no_product_asked_for_ends_at_the_account(auth: Auth) -> None:
    member, browser = auth.member(name="佐藤 陽子"), auth.browser()
    assert browser.get("/account").url.path == "/login"

    answer = browser.submit("/login", address=member.address, password=member.password)

    assert answer.headers["Location"] == "/account"
    assert "佐藤 陽子" in browser.get("/account").text


def test_somebody_known_to_several_tenants_chooses_and_sees_only_those_that_know_the_password(auth: Auth) -> None:
    first = auth.member(name="佐藤 陽子")
    second = auth.member(name="佐藤 陽子", email=first.address)
    auth.member(name="佐藤 陽子", email=first.address, password="another long password")
    browser = auth.browser()

    page = browser.log_in(first)
    told = came_back(browser.submit(page, choice="1"))

    assert page.text.count('name="choice"') == 2
    chosen = browser.userinfo(browser.exchange(told["code"]).json()["access_token"]).json()["sub"]
    other = auth.browser()
    others = came_back(other.submit(other.log_in(first), choice="0"))
    assert {chosen, other.userinfo(other.exchange(others["code"]).json()["access_token"]).json()["sub"]} == {
        first.id,
        second.id,
    }
    assert other.submit(other.log_in(first, prompt="login"), choice="2").status_code == 422


def test_the_wrong_password_and_an_unknown_address_get_the_same_answer(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()

    wrong = browser.submit(browser.authorize(), address=member.address, password="not the password")
    unknown = browser.submit(browser.authorize(), address="nobody@sakura.example", password="not the password")

    assert wrong.status_code == unknown.status_code == 422
    alert = [page.text.split('role="alert">')[1].split("<")[0] for page in (wrong, unknown)]
    assert alert[0] == alert[1]
    assert [event["actor_id"] for event in auth.events(member, "login.failed")] == [member.id]


def test_a_login_leaves_its_event_and_keeps_the_address_apart(auth: Auth) -> None:
    member = auth.member()

    auth.browser().log_in(member)

    succeeded = auth.events(member, "login.succeeded")[-1]
    assert succeeded["after"]["amr"] == ["pwd"]
    assert "127.0.0.1" not in str(succeeded)
    sealed = auth.platform.rows("SELECT sealed FROM auth.event_secrets WHERE event_id = %s", succeeded["event_id"])
    assert len(sealed) == 1 and b"127.0.0.1" not in bytes(sealed[0]["sealed"])


def test_a_redirect_is_exact_and_a_mismatch_sends_the_browser_nowhere(auth: Auth) -> None:
    browser = auth.browser()

    assert browser.authorize().status_code == 200
    for other in (f"{BACK}/", f"{BACK}?x=1", "https://product.example/", "https://evil.example/callback", 'a"b\\'):
        page = browser.authorize(redirect_uri=other)
        assert page.status_code == 400, other
        assert "Location" not in page.headers
