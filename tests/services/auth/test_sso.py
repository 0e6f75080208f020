"""Logging in at a tenant's own identity provider. Here it is a small one, so that it can be made to lie.

A real one, npm's oidc-provider, is asked by tests/oidc.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from services.auth.sessions import TWO_FACTORS
from tests.services.auth.conftest import Auth, Browser, Member, came_back
from tests.services.conftest import Served, listening

CLIENT_SECRET = "the secret that both sides keep"


@dataclass
class Provider:
    """``lies``: claims that replace the right ones; None takes one out."""

    issuer: str
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True))
    signs_with: Any = None
    algorithm: str = "RS256"
    lies: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)  # by code
    token_status: int = 200

    def id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {
            **{"iss": self.issuer, "sub": "sub-of-sato", "aud": asked["client_id"], "nonce": asked["nonce"]},
            **{"iat": now, "exp": now + 300, **self.lies},
        }
        told = {name: value for name, value in claims.items() if value is not None}
        key = self.signs_with or self.key
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, told, key, [self.algorithm])


def app_of(provider: Provider) -> FastAPI:
    app = FastAPI()

    @app.get("/healthz")
    def healthz() -> Response:
        return Response()

    @app.get("/.well-known/openid-configuration")
    def configuration() -> Response:
        told = {
            "issuer": provider.issuer,
            "authorization_endpoint": f"{provider.issuer}/authorize",
            "token_endpoint": f"{provider.issuer}/token",
            "jwks_uri": f"{provider.issuer}/jwks",
        }
        return JSONResponse({**told, **provider.configuration})

    @app.get("/jwks")
    def jwks() -> Response:
        return JSONResponse({"keys": [provider.key.as_dict(private=False)]})

    @app.get("/authorize")
    def authorize(request: Request) -> Response:
        asked, code = dict(request.query_params), secrets.token_urlsafe(8)
        provider.asked[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?code={code}&state={asked['state']}", 303)

    @app.post("/token")
    async def token(request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        asked = provider.asked.pop(form["code"][0])
        assert asked["code_challenge_method"] == "S256" and len(form["code_verifier"][0]) >= 43
        return JSONResponse({"id_token": provider.id_token(asked)}, provider.token_status)

    return app


@pytest.fixture
def provider() -> Iterator[Provider]:
    with listening() as listener:
        made = Provider(f"http://localhost:{listener.getsockname()[1]}")
        running = Served.start(app_of(made), listener)
        yield made
        running.stop()


@dataclass
class Connected:
    """A tenant with this provider, and a member who has connected their login there."""

    auth: Auth
    member: Member
    slug: str
    upstream: dict[str, Any]


def upstream_of(auth: Auth, tenant: str, provider: Provider, **told: str) -> dict[str, Any]:
    auth.operator.tenant = tenant
    return auth.operator.do("/v1/upstreams", {**_body(provider), **told})


def go_there(browser: Browser, page: httpx.Response) -> httpx.Response:
    """Follow the page that leads away, and what the provider sends back."""
    address = page.text.split('class="button" href="')[1].split('"')[0].replace("&amp;", "&")
    away = httpx.get(address)
    assert away.is_redirect, away.text
    return browser.get(away.headers["Location"].removeprefix(browser.auth.issuer))


def by_sso(browser: Browser, slug: str, **asked: str) -> httpx.Response:
    login = browser.authorize(**asked)
    page = browser.get("/sso" + login.text.split('href="/sso')[1].split('"')[0])
    return go_there(browser, browser.submit(page, slug=slug))


@pytest.fixture
def connected(auth: Auth, provider: Provider) -> Connected:
    member, browser = auth.member(), auth.browser()
    upstream = upstream_of(auth, member.tenant, provider)
    browser.log_in(member)
    page = browser.submit("/account", f"/account/upstreams/{upstream['id']}/connect")
    assert go_there(browser, page).url.path == "/account"
    assert "Disconnect" in browser.get("/account").text
    return Connected(auth, member, upstream["slug"], upstream)


def test_a_connected_login_opens_a_session_that_says_who_let_them_in(auth: Auth, connected: Connected) -> None:
    browser = auth.browser()

    told = came_back(by_sso(browser, connected.slug))

    tokens = browser.exchange(told["code"]).json()
    assert browser.userinfo(tokens["access_token"]).json()["sub"] == connected.member.id
    session = auth.events(connected.member, "login.succeeded")[-1]["after"]
    assert (session["amr"], session["upstream_id"]) == (["fed"], connected.upstream["id"])


def test_a_login_that_nobody_connected_lets_nobody_in_whatever_address_it_tells(
    auth: Auth, connected: Connected, provider: Provider
) -> None:
    provider.lies = {"sub": "another", "email": connected.member.address, "email_verified": True}

    page = by_sso(auth.browser(), connected.slug)

    assert page.status_code == 422 and "connected yet" in page.text


def test_two_factors_are_asked_for_here_whatever_the_provider_says(
    auth: Auth, connected: Connected, provider: Provider
) -> None:
    provider.lies = {"amr": ["pwd", "mfa"], "acr": TWO_FACTORS}

    page = by_sso(auth.browser(), connected.slug, acr_values=TWO_FACTORS)

    assert page.status_code == 200 and "Set up a second factor" in page.text


def enrol_there(auth: Auth, member: Member, upstream: dict[str, Any]) -> httpx.Response:
    """With a fresh link, and no password."""
    browser = auth.browser()
    page = browser.get(auth.enrolment(member))
    return go_there(browser, browser.submit(page, "/enrol/sso", id=upstream["id"]))


def test_somebody_new_connects_their_login_there_and_never_has_a_password(auth: Auth, provider: Provider) -> None:
    member = auth.member(password=None)
    upstream = upstream_of(auth, member.tenant, provider)

    first = enrol_there(auth, member, upstream)
    told = came_back(by_sso(auth.browser(), upstream["slug"]))

    assert first.url.path == "/account" and told["code"]
    opened = [event["event_type"] for event in auth.events(member)]
    assert opened[:4] == ["account.opened", "enrolment.offered", "upstream.linked", "login.succeeded"]
    assert auth.platform.count("auth.passwords", member.tenant) == 0
    assert auth.browser().submit("/login", address=member.address, password="").status_code == 422


def test_an_enrolment_is_spent_by_the_login_that_it_connects_and_not_by_one_that_is_taken(
    auth: Auth, connected: Connected, provider: Provider
) -> None:
    other = auth.member(tenant=connected.member.tenant, password=None)
    link, browser = auth.enrolment(other), auth.browser()

    def connect() -> httpx.Response:
        page = browser.get(link)
        return go_there(browser, browser.submit(page, "/enrol/sso", id=connected.upstream["id"]))

    taken = connect()
    provider.lies = {"sub": "sub-of-suzuki"}
    connected_ = connect()

    assert (taken.status_code, "another user" in taken.text) == (422, True)
    assert connected_.url.path == "/account"
    assert "work any more" in browser.get(link).text


LIES: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "for another client": {"aud": "somebody-else"},
    "for two, without saying for whom": {"aud": ["rireki", "somebody-else"]},
    "issued to another": {"azp": "somebody-else"},
    "expired": {"exp": 1_700_000_000},
    "no expiry": {"exp": None},
    "from the future": {"iat": 4_000_000_000},
    "of another login": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "nobody": {"sub": ""},
    "no text": {"sub": 7},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_is_not_for_this_login_lets_nobody_in(
    auth: Auth, connected: Connected, provider: Provider, lie: str
) -> None:
    provider.lies = LIES[lie]

    page = by_sso(auth.browser(), connected.slug)

    assert page.status_code == 422 and "That login didn&#39;t work" in page.text


def test_a_token_that_its_keys_did_not_sign_lets_nobody_in(
    auth: Auth, connected: Connected, provider: Provider
) -> None:
    outcomes = []
    for key, algorithm in (
        (RSAKey.generate_key(2048, {"use": "sig"}), "RS256"),
        (OctKey.import_key(CLIENT_SECRET), "HS256"),
    ):
        provider.signs_with, provider.algorithm = key, algorithm
        outcomes.append(by_sso(auth.browser(), connected.slug).status_code)
    provider.signs_with, provider.algorithm = None, "RS256"

    assert outcomes == [422, 422]
    assert came_back(by_sso(auth.browser(), connected.slug))["code"]


def test_a_provider_that_answers_badly_is_a_page_and_no_failure(
    auth: Auth, connected: Connected, provider: Provider
) -> None:
    provider.token_status = 500

    page = by_sso(auth.browser(), connected.slug)

    assert page.status_code == 422 and "answered 500" in page.text


@pytest.mark.parametrize(
    "lie",
    [{"issuer": "https://evil.example"}, {"token_endpoint": "http://169.254.169.254/latest"}],
    ids=lambda lie: next(iter(lie)),
)
def test_a_configuration_of_another_issuer_or_without_https_leads_nowhere(
    auth: Auth, provider: Provider, lie: dict[str, str]
) -> None:
    upstream = upstream_of(auth, auth.directory.found(), provider)
    provider.configuration = lie

    page = auth.browser().submit("/sso", slug=upstream["slug"])

    assert page.status_code == 422 and "That login didn&#39;t work" in page.text
    assert "evil" not in page.text and "169.254" not in page.text


def test_an_upstream_is_registered_by_an_https_address_and_no_other(auth: Auth, provider: Provider) -> None:
    auth.operator.tenant = auth.directory.found()

    for issuer in ("http://evil.example", "file:///etc/passwd", "https://user@idp.example", "javascript:alert(1)"):
        auth.operator.command("/v1/upstreams", {**_body(provider), "issuer": issuer})
        assert auth.operator.last.status_code == 422, issuer


def test_an_answer_that_another_browser_asked_for_lets_nobody_in(auth: Auth, connected: Connected) -> None:
    browser, other = auth.browser(), auth.browser()
    page = browser.submit("/sso", slug=connected.slug)
    address = page.text.split('class="button" href="')[1].split('"')[0].replace("&amp;", "&")
    answer = httpx.get(address).headers["Location"]

    stolen = other.get(answer)

    assert (stolen.status_code, "expired" in stolen.text) == (422, True)


def test_a_login_at_the_provider_is_one_persons(auth: Auth, connected: Connected) -> None:
    other, browser = auth.member(tenant=connected.member.tenant), auth.browser()
    browser.log_in(other)

    page = go_there(browser, browser.submit("/account", f"/account/upstreams/{connected.upstream['id']}/connect"))

    assert page.status_code == 422 and "another user" in page.text
    assert auth.events(other, "upstream.linked") == []


def test_a_provider_that_ended_lets_nobody_in_and_its_secret_is_gone(auth: Auth, connected: Connected) -> None:
    auth.operator.tenant = connected.member.tenant
    auth.operator.do(f"/v1/upstreams/{connected.upstream['id']}/end")

    page = auth.browser().submit("/sso", slug=connected.slug)

    assert page.status_code == 422 and "Nothing here has this name" in page.text
    assert auth.platform.count("auth.upstream_secrets", connected.member.tenant) == 0
    assert len(auth.events(connected.member, "upstream.unlinked")) == 1


def test_the_providers_secret_is_kept_sealed_and_told_to_nobody(auth: Auth, connected: Connected) -> None:
    tenant = connected.member.tenant
    kept = auth.platform.rows("SELECT sealed FROM auth.upstream_secrets WHERE tenant_id = %s", tenant)
    answers = auth.platform.rows("SELECT answer::text FROM auth.idempotency_keys WHERE tenant_id = %s", tenant)
    events = auth.platform.rows("SELECT after::text FROM auth.events WHERE tenant_id = %s", tenant)

    assert len(kept) == 1 and CLIENT_SECRET.encode() not in bytes(kept[0]["sealed"])
    assert not any(CLIENT_SECRET in str(row) for row in (*answers, *events))


def test_another_tenants_upstream_does_not_exist(auth: Auth, connected: Connected) -> None:
    auth.operator.tenant = auth.directory.found()

    assert auth.operator.get(f"/v1/upstreams/{connected.upstream['id']}").status_code == 404
    assert auth.operator.command(f"/v1/upstreams/{connected.upstream['id']}/end").status_code == 404


def test_where_a_login_leads_is_nobodys_to_choose(auth: Auth, connected: Connected) -> None:
    member, browser = auth.member(), auth.browser()
    page = browser.get("/login?page=https://evil.example&next=https://evil.example&redirect_uri=https://evil.example")

    answer = browser.submit(page, address=member.address, password=member.password, next="https://evil.example")

    assert answer.headers["Location"] == "/account"
    left = browser.submit("/sso", slug=connected.slug, redirect_uri="https://evil.example")
    asked = parse_qs(urlsplit(left.text.split('class="button" href="')[1].split('"')[0].replace("&amp;", "&")).query)
    assert asked["redirect_uri"] == [f"{auth.issuer}/sso/callback"]


def _body(provider: Provider) -> dict[str, str]:
    return {
        "slug": f"sakura-{uuid4().hex[:8]}",
        "name": "Sakura Group",
        "issuer": provider.issuer,
        "client_id": "rireki",
        "client_secret": CLIENT_SECRET,
    }


def test_a_slug_that_is_taken_is_refused_alike_whoever_has_it(auth: Auth, provider: Provider) -> None:
    mine, theirs = auth.member().tenant, auth.member().tenant
    own, other = upstream_of(auth, mine, provider)["slug"], upstream_of(auth, theirs, provider)["slug"]
    auth.operator.tenant = mine

    answers = [auth.operator.command("/v1/upstreams", {**_body(provider), "slug": slug}) for slug in (own, other)]

    assert [answer.status_code for answer in answers] == [409, 409]
    first, second = ({k: v for k, v in answer.json().items() if k != "request_id"} for answer in answers)
    assert first == second
    assert theirs not in answers[1].text
