"""What products speak, and what is refused: replayed, stolen, forged, expired, malformed."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import urlencode

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from tests.services.auth.conftest import GOODBYE, Auth, came_back, product

FORM = "application/x-www-form-urlencoded"
POSTED = ("/token", "/introspect", "/revoke", "/userinfo", "/login", "/login/choose", "/second", "/second/passkey")
POSTED_TOO = ("/set-up/app", "/set-up/passkey", "/enrol", "/logout", "/authorize", "/sso", "/account/recovery-codes")


def test_a_refresh_token_works_once_and_a_second_use_ends_the_family(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    tokens = browser.tokens(member)

    refreshed = browser.refresh(tokens["refresh_token"]).json()
    again = browser.refresh(tokens["refresh_token"])

    assert refreshed["refresh_token"] != tokens["refresh_token"] and "id_token" in refreshed
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert browser.refresh(refreshed["refresh_token"]).status_code == 400
    assert browser.userinfo(refreshed["access_token"]).status_code == 401
    assert auth.events(member, "grant.revoked")[-1]["after"]["revoked_by"] == "token_reused"


def test_a_code_works_once_and_a_second_use_takes_back_what_the_first_gave(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    code = browser.code(member)

    tokens = browser.exchange(code).json()
    again = browser.exchange(code)

    assert again.json()["error"] == "invalid_grant"
    assert browser.userinfo(tokens["access_token"]).status_code == 401
    assert auth.events(member, "grant.revoked")[-1]["after"]["revoked_by"] == "code_reused"


def test_a_code_is_for_its_verifier_its_address_and_its_client_and_a_mistake_does_not_spend_it(auth: Auth) -> None:
    browser = auth.browser()
    code, verifier = browser.code(auth.member()), browser.verifier

    browser.verifier = "x" * 50
    wrong_verifier = browser.exchange(code)
    browser.verifier = verifier
    wrong_address = browser.token(
        grant_type="authorization_code", code=code, redirect_uri="https://product.example/other", code_verifier=verifier
    )
    wrong_secret = product(auth, "/token", {"grant_type": "authorization_code", "code": code}, "not the secret")

    assert wrong_verifier.json()["error"] == wrong_address.json()["error"] == "invalid_grant"
    assert (wrong_secret.status_code, wrong_secret.json()["error"]) == (401, "invalid_client")
    assert browser.exchange(code).status_code == 200


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"prompt": "none"}, "login_required"),
        ({"prompt": "none", "acr_values": "urn:rireki:acr:two-factors"}, "login_required"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example/request"}, "request_uri_not_supported"),
        ({"response_mode": "fragment"}, "invalid_request"),
    ],
)
def test_what_is_not_offered_is_refused_to_the_product_in_words_of_the_protocol(
    auth: Auth, asked: dict[str, str], error: str
) -> None:
    told = came_back(auth.browser().authorize(**asked))

    assert (told["error"], told["state"], told["iss"]) == (error, "a state", auth.issuer)


def test_an_unknown_product_sends_the_browser_nowhere(auth: Auth) -> None:
    page = auth.browser().authorize(client_id="nobody-knows")

    assert page.status_code == 400 and "Location" not in page.headers


def test_introspection_tells_what_a_token_is_worth_now_and_only_to_who_may_ask(auth: Auth) -> None:
    browser = auth.browser()
    tokens = browser.tokens(auth.member())

    def active(token: str) -> bool:
        return bool(product(auth, "/introspect", {"token": token}).json()["active"])

    before = [active(tokens["access_token"]), active(tokens["refresh_token"]), active("junk")]
    product(auth, "/revoke", {"token": tokens["refresh_token"]})

    assert before == [True, True, False]
    assert [active(tokens["access_token"]), active(tokens["refresh_token"])] == [False, False]
    assert product(auth, "/introspect", {"token": "junk"}, "not the secret").status_code == 401


def test_a_product_logs_its_user_out_and_the_browser_goes_only_where_it_registered(auth: Auth) -> None:
    browser = auth.browser()
    tokens = browser.tokens(auth.member())

    answer = browser.http.get(
        "/logout?" + urlencode({"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": GOODBYE, "state": "s"})
    )

    assert answer.headers["Location"] == f"{GOODBYE}?state=s"
    assert browser.refresh(tokens["refresh_token"]).status_code == 400
    assert came_back(browser.authorize(prompt="none"))["error"] == "login_required"
    for elsewhere in ("https://evil.example/", f"{GOODBYE}/x", "//evil.example"):
        stays = browser.http.get(
            "/logout?" + urlencode({"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": elsewhere})
        )
        assert (stays.status_code, "Location" in stays.headers) == (200, False), elsewhere


def test_nobody_is_logged_out_by_a_link_of_somebody_else(auth: Auth) -> None:
    browser = auth.browser()
    browser.tokens(auth.member())

    asked = browser.http.get("/logout")
    forged = browser.http.post("/logout", data={"csrf": "0" * 64})
    unreadable = browser.http.post("/logout", data={"csrf": "é"})

    assert all("Log out?" in page.text for page in (asked, forged, unreadable))
    assert came_back(browser.authorize(prompt="none"))["code"]
    assert browser.submit(asked).status_code == 200
    assert came_back(browser.authorize(prompt="none"))["error"] == "login_required"


def test_who_is_suspended_is_out_at_once_everywhere(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()
    tokens = browser.tokens(member)

    auth.directory.tenant = member.tenant
    auth.directory.do(f"/v1/users/{member.id}/suspend", version=2)

    assert browser.refresh(tokens["refresh_token"]).status_code == 400
    assert browser.userinfo(tokens["access_token"]).status_code == 401
    assert product(auth, "/introspect", {"token": tokens["access_token"]}).json() == {"active": False}
    assert auth.browser().log_in(member).status_code == 422


def test_five_wrong_passwords_lock_until_somebody_unlocks(auth: Auth) -> None:
    member, browser = auth.member(), auth.browser()

    for _ in range(5):
        browser.submit(browser.authorize(), address=member.address, password="wrong wrong wrong")

    assert browser.log_in(member).status_code == 422
    auth.operator.tenant = member.tenant
    auth.operator.do(f"/v1/users/{member.id}/unlock")
    assert came_back(browser.log_in(member))["code"]


def forgeries(auth: Auth, genuine: str) -> dict[str, str]:
    head, body, signature = genuine.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    kid = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    header = {"typ": "at+jwt", "kid": kid}
    unsigned = base64.urlsafe_b64encode(json.dumps({**header, "alg": "none"}).encode()).rstrip(b"=").decode()
    public = httpx.get(f"{auth.issuer}/jwks").json()["keys"][0]["n"]
    other = base64.urlsafe_b64encode(json.dumps({**claims, "sub": claims["sid"]}).encode()).rstrip(b"=").decode()
    return {
        "unsigned": f"{unsigned}.{body}.",
        "another key": jwt.encode({**header, "alg": "RS256"}, claims, RSAKey.generate_key(2048), ["RS256"]),
        "our public key as a secret": jwt.encode(
            {**header, "alg": "HS256"}, claims, OctKey.import_key(public), ["HS256"]
        ),
        "another body": f"{head}.{other}.{signature}",
        "no text": "\xff",
        "endless": "a" * 5000,
        "nested": "[" * 3000,
    }


def test_a_forged_token_is_worth_nothing(auth: Auth) -> None:
    browser = auth.browser()
    tokens = browser.tokens(auth.member())

    for name, token in forgeries(auth, tokens["access_token"]).items():
        answer = httpx.post(f"{auth.issuer}/userinfo", data={"access_token": token})
        assert answer.status_code in (400, 401), name
        asked = product(auth, "/introspect", {"token": token})
        assert asked.status_code == 400 or asked.json() == {"active": False}, name
    assert browser.userinfo(tokens["id_token"]).status_code == 401  # genuine, and no access token
    assert browser.userinfo(tokens["access_token"]).status_code == 200


def test_an_access_token_ends_after_ten_minutes(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = auth.browser()
    tokens = browser.tokens(auth.member())
    now = time.time()
    assert browser.userinfo(tokens["access_token"]).status_code == 200

    monkeypatch.setattr("services.auth.protocol.tokens.time.time", lambda: now + 601)

    assert browser.userinfo(tokens["access_token"]).status_code == 401


@pytest.mark.parametrize("path", POSTED + POSTED_TOO)
def test_no_bytes_make_it_fail(auth: Auth, path: str) -> None:
    bodies = [
        b"\xff\xfe=%00&a=%ff",
        b"grant_type=authorization_code&code=%00&client_id=%22",
        b"token=%F0%28&address=%00&flow=A&password=x&csrf=%FF&slug=%00&answer=[&choice=%D9%A1",
        b"flow=" + b"A" * 20_000,
        b"a=" + b"A" * 70_000,
        b"&".join(b"a%d=1" % number for number in range(200)),
        b"token=x&token=y&flow=x&flow=y",
    ]
    headers = [{}, {"Authorization": "Basic /w=="}, {"Authorization": "Bearer a.b.c"}, {"Authorization": "Basic YTo="}]
    with httpx.Client(base_url=auth.issuer, cookies={"session": "x" * 64, "browser": "b" * 32}) as client:
        for body in bodies:
            for more in headers:
                answer = client.post(path, content=body, headers={"Content-Type": FORM, **more})
                assert answer.status_code < 500, (body[:60], more, answer.text)
        for kind in ("multipart/form-data; boundary=x", "application/json", "multipart/form-data"):
            assert client.post(path, content=b"\x00--x{", headers={"Content-Type": kind}).status_code < 500, kind


def test_no_query_makes_it_fail(auth: Auth) -> None:
    for path in (
        "/authorize",
        "/login",
        "/second",
        "/sso",
        "/sso/callback",
        "/enrol",
        "/logout",
        "/account",
        "/userinfo",
    ):
        for query in (
            "flow=%00",
            "state=%FF&code=x",
            "token=" + "A" * 64,
            "client_id=%22&scope=%00",
            "flow=" + "A" * 9000,
        ):
            answer = httpx.get(f"{auth.issuer}{path}?{query}", headers={"Cookie": "session=%00; browser=é".encode()})
            assert answer.status_code < 500, (path, query)


@pytest.mark.parametrize("command", ["enrolment", "unlock", "end-sessions", "reset-factors"])
def test_another_tenants_user_does_not_exist(auth: Auth, command: str) -> None:
    member = auth.member()
    auth.operator.tenant = auth.directory.found()

    answer = auth.operator.command(f"/v1/users/{member.id}/{command}")

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:rireki:problem:not-found"


def test_a_token_of_one_tenant_finds_nothing_in_another(auth: Auth) -> None:
    """An opaque token names its tenant; changed to another's, its hash isn't there."""
    mine, theirs = auth.member(), auth.member()
    browser = auth.browser()
    tokens = browser.tokens(mine)
    raw = base64.urlsafe_b64decode(tokens["refresh_token"])
    moved = base64.urlsafe_b64encode(bytes.fromhex(theirs.tenant.replace("-", "")) + raw[16:]).decode()

    assert browser.refresh(moved).json()["error"] == "invalid_grant"
    assert browser.refresh(tokens["refresh_token"]).status_code == 200


def test_operators_commands_need_the_token_and_refuse_unknown_fields(auth: Auth) -> None:
    member = auth.member()
    path = f"/v1/users/{member.id}/unlock"
    auth.operator.tenant = member.tenant

    assert httpx.post(f"{auth.issuer}{path}", json={}).status_code == 401
    assert auth.operator.command(path, {"unknown": 1}).status_code == 422
    key = "the-same-key-twice"
    first = auth.operator.command(path, {"reason": "one"}, key=key)
    repeated = auth.operator.command(path, {"reason": "one"}, key=key)
    other = auth.operator.command(path, {"reason": "two"}, key=key)
    assert (first.status_code, repeated.json(), other.status_code) == (200, first.json(), 422)
    assert repeated.headers["Idempotent-Replayed"] == "true"
