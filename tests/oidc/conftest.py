"""Independent implementations of OpenID Connect beside auth, on Node, and a real browser between them.

Without Node 20 or its packages the tests are skipped by name; ``make test-oidc`` fetches both and lets none be skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.ports import free_port
from tests.browser.conftest import browser, shared_auth  # noqa: F401 - fixtures
from tests.services.auth.conftest import Auth, register

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Product:
    """A web application whose users log in through auth."""

    url: str
    client_id: str


@pytest.fixture(scope="session")
def node() -> str:
    program = shutil.which("node")
    missing = None
    if program is None:
        missing = "needs Node 20 or later"
    elif not (HERE / "node_modules" / "openid-client").is_dir():
        missing = "needs npm's openid-client and oidc-provider"
    if missing is not None:
        if os.environ.get("RIREKI_OIDC"):
            pytest.fail(missing)
        pytest.skip(f"{missing}: make test-oidc")
    assert program is not None
    return program


@pytest.fixture(scope="module")
def auth(shared_auth: Auth) -> Auth:  # noqa: F811 - the fixture above
    return shared_auth


@pytest.fixture(scope="module")
def product(auth: Auth, node: str) -> Iterator[Product]:
    port, client_id = free_port(), "product-on-openid-client"
    url = f"http://localhost:{port}"
    secret = register(
        auth.platform,
        client_id,
        redirect_uris=[f"{url}/callback"],
        post_logout_redirect_uris=[f"{url}/goodbye"],
        may_introspect=True,
    )
    assert secret is not None
    with program(node, "product.mjs", str(port), auth.issuer, client_id, secret):
        yield Product(url, client_id)


@contextmanager
def program(node: str, script: str, *arguments: str) -> Iterator[None]:
    """Running and ready."""
    command = [node, str(HERE / script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.strip() == "ready":
                    break
            else:
                pytest.fail(f"{script} ended with {process.wait()}")
            yield
        finally:
            process.kill()
