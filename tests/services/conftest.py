"""A migrated database per test, cloned from one template, and services that really listen on it."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row

from infra.postgres import Postgres
from services.asset.app import create_app as create_asset
from services.directory.app import create_app as create_directory
from services.migrate.apply import migrate
from services.web.settings import Settings
from tests.conftest import Database
from tests.services.auth.rows import fill
from tests.services.context import PASSWORD as PASSWORD

TOKEN = "a-token-for-tests-only"

PASSWORDS = {"directory": PASSWORD, "asset": PASSWORD, "auth": PASSWORD}
APPS: dict[str, Callable[[Settings], FastAPI]] = {"directory": create_directory, "asset": create_asset}


@dataclass(frozen=True)
class Platform:
    """A migrated database. ``dsn_of`` a service is that of the role which it logs in as."""

    database: Database

    @property
    def admin_dsn(self) -> str:
        return self.database.dsn

    def dsn_of(self, service: str) -> str:
        return self.database.server.dsn(self.database.name, user=service, password=PASSWORD)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """As the superuser, whom row security doesn't bind."""
        with psycopg.connect(self.admin_dsn, row_factory=dict_row) as connection:
            return connection.execute(query, parameters or None).fetchall()

    def count(self, table: str, tenant: str | None) -> int:
        return int(self.rows(f"SELECT count(*) AS n FROM {table} WHERE tenant_id = %s", tenant)[0]["n"])


@dataclass
class Api:
    """A service as a client sees it. Every command gets a key of its own unless one is given."""

    http: httpx.Client
    platform: Platform
    actor: str = "operator:sato"
    tenant: str | None = None
    last: httpx.Response = field(init=False)

    def command(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        version: int | None = None,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = {"X-Actor": self.actor, "Idempotency-Key": key or f"key-{uuid.uuid4()}"}
        if self.tenant is not None:
            sent["X-Tenant"] = self.tenant
        if version is not None:
            sent["If-Match"] = f'"{version}"'
        self.last = self.http.post(path, json=body if body is not None else {}, headers={**sent, **(headers or {})})
        return self.last

    def do(self, path: str, body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The state that the command leaves; fails unless it was carried out."""
        response = self.command(path, body, **more)
        assert response.status_code in (200, 201), response.text
        state: dict[str, Any] = response.json()["state"]
        return state

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path, headers={"X-Tenant": self.tenant} if self.tenant else {})

    # What most tests begin with

    def found(self, **body: Any) -> str:
        self.tenant = None
        state = self.do("/v1/tenants", {"name": "さくら薬局", "kana": "サクラヤッキョク", **body})
        self.tenant = str(state["tenant_id"])
        return self.tenant

    def organisation(self, **body: Any) -> dict[str, Any]:
        return self.do("/v1/organisations", {"name": "本社", "kana": "ホンシャ", **body})

    def pharmacy(self, organisation: dict[str, Any], **body: Any) -> dict[str, Any]:
        told = {
            "organisation_id": organisation["id"],
            "name": "さくら薬局 新宿店",
            "kana": "サクラヤッキョク シンジュクテン",
            "prefecture": "東京都",
            "opened_on": "2001-04-01",
        }
        return self.do("/v1/pharmacies", {**told, **body})

    def user(self, **body: Any) -> dict[str, Any]:
        told = {
            "name": "佐藤 陽子",
            "kana": "サトウ ヨウコ",
            "email": f"{uuid.uuid4().hex[:12]}@sakura.example",
            "is_pharmacist": True,
        }
        return self.do("/v1/users", {**told, **body})


@dataclass
class Served:
    """A uvicorn of our own, on a free port, in a thread."""

    url: str
    server: uvicorn.Server
    thread: threading.Thread

    @classmethod
    def start(cls, app: FastAPI, listener: socket.socket | None = None) -> Served:
        listener = listener or listening()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(timeout=20) as client:  # the socket listens already: this waits until the service accepts
            assert client.get(f"{url}/healthz").status_code == 200
        return cls(url, server, thread)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


def listening() -> socket.socket:
    """A free port, ours from now on."""
    return socket.create_server(("127.0.0.1", 0), backlog=512)


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> Iterator[str]:
    name = f"platform_{uuid.uuid4().hex[:8]}"
    postgres.create_database(name)
    migrate(postgres.dsn(name), PASSWORDS)
    yield name
    postgres.drop_database(name)


@contextmanager
def cloned(postgres: Postgres, template: str) -> Iterator[Platform]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.create_database(name, template=template)
    yield Platform(Database(postgres, name))
    postgres.drop_database(name)


@contextmanager
def served(platform: Platform, service: str = "directory") -> Iterator[Api]:
    listening = Served.start(APPS[service](Settings(dsn=platform.dsn_of(service), token=TOKEN)))
    with httpx.Client(base_url=listening.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as http:
        yield Api(http, platform)
    listening.stop()


@pytest.fixture(scope="module")
def shared_api(postgres: Postgres, template: str) -> Iterator[Api]:
    with cloned(postgres, template) as platform, served(platform) as api:
        yield api


@pytest.fixture
def platform(shared_api: Api) -> Platform:
    """Shared by a file's tests, so look at your tenant's rows only."""
    return shared_api.platform


@pytest.fixture
def api(shared_api: Api) -> Api:
    """A directory shared by a file's tests: they don't see each other, for each founds a tenant of its own."""
    return Api(shared_api.http, shared_api.platform)


@pytest.fixture
def own_api(postgres: Postgres, template: str) -> Iterator[Api]:
    """A directory and a database that no other test has."""
    with cloned(postgres, template) as platform, served(platform) as api:
        yield api


@dataclass
class Assets:
    """The asset service and the directory on one database, acting for one tenant."""

    api: Api
    directory: Api

    @property
    def platform(self) -> Platform:
        return self.api.platform

    def found(self) -> str:
        self.api.tenant = self.directory.found()
        return self.api.tenant

    def user(self, *, active: bool = True) -> str:
        user = self.directory.user()
        if active:
            self.directory.do(f"/v1/users/{user['id']}/activate", version=1)
        return str(user["id"])

    def pharmacy(self) -> str:
        return str(self.directory.pharmacy(self.directory.organisation())["id"])

    def device(self, pharmacy: str | None = None, **body: Any) -> dict[str, Any]:
        told = {"pharmacy_id": pharmacy or self.pharmacy(), "kind": "terminal", "serial": f"SN-{uuid.uuid4().hex[:12]}"}
        return self.api.do("/v1/devices", {**told, **body})

    def contract(self, **body: Any) -> dict[str, Any]:
        return self.api.do("/v1/contracts", {"number": f"C-{uuid.uuid4().hex[:8]}", "starts_on": "2020-04-01", **body})

    def license(
        self, seats: int, product: str = "medication_record", contract: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        contract = contract or self.contract()
        return self.api.do(f"/v1/contracts/{contract['id']}/licenses", {"product": product, "seats": seats})

    def assign(self, license: dict[str, Any], **holder: str) -> dict[str, Any]:
        return self.api.do(f"/v1/licenses/{license['id']}/assignments", holder)

    def check(self, product: str = "medication_record", **holder: str) -> dict[str, Any]:
        asked = "&".join(f"{name}={value}" for name, value in holder.items())
        response = self.api.get(f"/v1/licenses/check?product={product}&{asked}")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture(scope="module")
def shared_assets(shared_api: Api) -> Iterator[Assets]:
    with served(shared_api.platform, "asset") as api:
        yield Assets(api, shared_api)


@pytest.fixture
def assets(shared_assets: Assets) -> Assets:
    """Both services, shared by a file's tests; a tenant of its own."""
    platform = shared_assets.platform
    own = Assets(Api(shared_assets.api.http, platform), Api(shared_assets.directory.http, platform))
    own.found()
    return own


@dataclass(frozen=True)
class TwoTenants:
    """Two tenants with a row in every table; ``mine`` and ``theirs`` are their ids."""

    platform: Platform
    mine: str
    theirs: str


@pytest.fixture(scope="module")
def two_tenants(postgres: Postgres, template: str) -> Iterator[TwoTenants]:
    """Shared by a file's tests: they read, or roll back."""
    with cloned(postgres, template) as platform:
        made = []
        with served(platform) as api, served(platform, "asset") as asset:
            assets = Assets(asset, api)
            for _ in range(2):
                made.append(assets.found())
                pharmacy = api.pharmacy(api.organisation(), code="1301234567", code_valid_from="2001-04-01")
                user = api.user()
                api.do(f"/v1/users/{user['id']}/memberships", {"pharmacy_id": pharmacy["id"]})
                api.do(f"/v1/users/{user['id']}/role-grants", {"role": "clerk", "pharmacy_id": pharmacy["id"]})
                assets.device(pharmacy["id"])
                assets.assign(assets.license(1), user_id=user["id"])
                fill(platform.database, made[-1], user["id"])
        yield TwoTenants(platform, *made)
