"""An auth service beside a directory on one database, and a product whose users log in to it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID, uuid4

import httpx
import pyotp
import pytest

from infra.postgres import Postgres
from services.auth import clients
from services.auth.app import create_app
from services.auth.handle import NOBODY
from services.auth.settings import Settings
from services.shared.context import Context
from services.shared.transaction import Database
from tests.services.conftest import TOKEN, Api, Platform, Served, cloned, listening, served

MASTER_KEY = bytes(range(32))
PASSWORD = "correct horse battery staple"
BACK = "https://product.example/callback"
GOODBYE = "https://product.example/goodbye"


@dataclass(frozen=True)
class Member:
    """A user of the directory who may log in."""

    tenant: str
    id: str
    address: str
    password: str = PASSWORD


@dataclass
class Auth:
    """Both services, and the product ``client_id``."""

    operator: Api
    directory: Api
    issuer: str
    client_id: str
    client_secret: str

    @property
    def platform(self) -> Platform:
        return self.operator.platform

    def browser(self) -> Browser:
        return Browser(self)

    def member(self, *, tenant: str | None = None, password: str | None = PASSWORD, **body: Any) -> Member:
        """In a tenant of their own unless one is given; ``password=None`` leaves the enrolment to the test."""
        if tenant is None:
            tenant = self.directory.found()
        self.directory.tenant = self.operator.tenant = tenant
        address = body.pop("email", f"{uuid4().hex[:12]}@sakura.example")
        user = self.directory.user(email=address, **body)
        self.directory.do(f"/v1/users/{user['id']}/activate", version=1)
        member = Member(tenant, user["id"], address, password or "")
        if password is not None:
            answer = self.browser().submit(self.enrolment(member), password=password, again=password)
            assert answer.status_code == 303, answer.text
        return member

    def enrolment(self, member: Member) -> str:
        """The link that an operator brings to the user."""
        self.operator.tenant = member.tenant
        self.operator.do(f"/v1/users/{member.id}/enrolment")
        return self.operator.last.headers["Location"]

    def forget_used_codes(self, member: Member) -> None:
        """As if time had gone by since the app's last code."""
        self.platform.database.execute(
            f"UPDATE auth.totp_seeds SET last_step = 0 WHERE tenant_id = '{member.tenant}'",
        )

    def events(self, member: Member, event_type: str | None = None) -> list[dict[str, Any]]:
        found = self.platform.rows(
            "SELECT * FROM auth.events WHERE tenant_id = %s AND after ->> 'user_id' = %s ORDER BY recorded_at",
            member.tenant,
            member.id,
        )
        return [event for event in found if event_type in (None, event["event_type"])]


class _Form(HTMLParser):
    """The first form of a page: where it goes, and what its fields hold."""

    def __init__(self, text: str, action: str | None) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._wanted, self._inside = action, False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        if tag == "form" and self.action is None and self._wanted in (None, told.get("action")):
            self.action, self._inside = told.get("action"), True
        elif self._inside and tag in ("input", "button") and told.get("name"):
            self.fields.setdefault(str(told["name"]), told.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


class Browser:
    """One browser, with its cookies. Follows no redirect that leaves for the product."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.http = httpx.Client(base_url=auth.issuer, timeout=20)
        self.verifier = ""

    def get(self, url: str) -> httpx.Response:
        """The page behind the redirects of our own."""
        return self._followed(self.http.get(url))

    def submit(self, page: httpx.Response | str, action: str | None = None, **fields: str) -> httpx.Response:
        """Fill the page's (first) form; the answer as it comes, a redirect included."""
        if isinstance(page, str):
            page = self.get(page)
        form = _Form(page.text, action)
        assert form.action is not None, page.text
        return self.http.post(form.action, data={**form.fields, **fields})

    def authorize(self, **asked: str) -> httpx.Response:
        """What the product's link leads to: a page of ours, or the way back."""
        self.verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        told = {
            "response_type": "code",
            "client_id": self.auth.client_id,
            "redirect_uri": BACK,
            "scope": "openid profile affiliations",
            "state": "a state",
            "nonce": "a nonce",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **asked,
        }
        return self.get("/authorize?" + urlencode({name: value for name, value in told.items() if value}))

    def log_in(self, member: Member, **asked: str) -> httpx.Response:
        """Until the product is reached, or whatever comes before it."""
        return self._followed(self.submit(self.authorize(**asked), address=member.address, password=member.password))

    def set_up_app(self, page: httpx.Response | None = None) -> tuple[App, httpx.Response]:
        """On the page that asks for it, else from the account; the app, and the page with the recovery codes."""
        page = page or self.get("/account/second-factor")
        app = App.scan(page)
        answer = self.submit(page, "/set-up/app", code=app.code(), label="Sato's phone")
        assert answer.status_code == 200, answer.text
        return app, answer

    def code(self, member: Member, **asked: str) -> str:
        return str(came_back(self.log_in(member, **asked))["code"])

    def exchange(self, code: str, **told: str) -> httpx.Response:
        return self.token(
            grant_type="authorization_code", code=code, redirect_uri=BACK, code_verifier=self.verifier, **told
        )

    def refresh(self, refresh_token: str, **told: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **told)

    def token(self, **told: str) -> httpx.Response:
        """As the product, from its own server."""
        return product(self.auth, "/token", told)

    def tokens(self, member: Member, **asked: str) -> dict[str, Any]:
        answer = self.exchange(self.code(member, **asked))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def userinfo(self, access_token: str) -> httpx.Response:
        return httpx.get(f"{self.auth.issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    def _followed(self, response: httpx.Response) -> httpx.Response:
        while response.is_redirect and not response.headers["Location"].startswith("https://product.example"):
            response = self.http.get(response.headers["Location"])
        return response


@dataclass(frozen=True)
class App:
    """An authenticator app on somebody's phone."""

    seed: str

    @classmethod
    def scan(cls, page: httpx.Response) -> App:
        found = re.search(r'class="seed">([A-Z2-7 ]+)<', page.text)
        assert found is not None, page.text
        return cls(found[1].replace(" ", ""))

    def code(self, steps_from_now: int = 0) -> str:
        return pyotp.TOTP(self.seed).at(int(time.time()) + 30 * steps_from_now)


def age(auth: Auth, member: Member, **interval: str) -> None:
    """As if that much time had gone by since the person was last there, or since the session began."""
    with auth.platform.database.connect(autocommit=False) as admin:
        admin.execute("SET LOCAL session_replication_role = replica")
        for column, told in interval.items():
            table = "session_handles" if column == "last_seen_at" else "sessions"
            admin.execute(
                f"UPDATE auth.{table} SET {column} = {column} - %s::interval WHERE tenant_id = %s",
                (told, member.tenant),
            )


def recovery_codes(page: httpx.Response) -> list[str]:
    return re.findall(r"<li>([a-z0-9]{5}-[a-z0-9]{5})</li>", page.text)


def product(auth: Auth, path: str, told: dict[str, str], secret: str | None = None) -> httpx.Response:
    """The product calls, with its secret."""
    return httpx.post(f"{auth.issuer}{path}", data=told, auth=(auth.client_id, secret or auth.client_secret))


def came_back(response: httpx.Response) -> dict[str, str]:
    """What the product is told in the address that the browser is sent back to."""
    location = response.headers.get("Location", "")
    assert response.status_code == 303 and location.startswith(f"{BACK}?"), f"{response.status_code} {response.text}"
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def settings_for(platform: Platform, issuer: str, **more: Any) -> Settings:
    return Settings(dsn=platform.dsn_of("auth"), token=TOKEN, master_key=MASTER_KEY, issuer=issuer, **more)


def register(platform: Platform, client_id: str, **more: Any) -> str | None:
    """A product; its secret."""
    database = Database(platform.dsn_of("auth"), max_connections=1, name="test")
    database.open()
    told = {"auth_method": "client_secret_basic", "redirect_uris": [BACK], "post_logout_redirect_uris": [GOODBYE]}
    with database.tenant_transaction(Context(NOBODY, "system", "test", "r", UUID(int=0))) as transaction:
        secret = clients.register(transaction, client_id, "Medication record", **{**told, **more})
    database.close()
    return secret


@contextmanager
def auth_on(platform: Platform, **settings: Any) -> Iterator[Auth]:
    with listening() as listener, served(platform) as directory:
        issuer = f"http://localhost:{listener.getsockname()[1]}"
        running = Served.start(create_app(settings_for(platform, issuer, **settings)), listener)
        client_id = f"product-{os.urandom(4).hex()}"
        secret = register(platform, client_id, may_introspect=True)
        assert secret is not None
        with httpx.Client(base_url=issuer, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as http:
            yield Auth(Api(http, platform), directory, issuer, client_id, secret)
        running.stop()


@pytest.fixture(scope="module")
def shared_auth(postgres: Postgres, template: str) -> Iterator[Auth]:
    with cloned(postgres, template) as platform, auth_on(platform) as auth:
        yield auth


@pytest.fixture
def auth(shared_auth: Auth) -> Auth:
    """Shared by a file's tests; each makes members of its own."""
    return shared_auth
