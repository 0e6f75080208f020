"""A real browser without a window. Where there is none, the tests here are skipped by name."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.webdriver import WebDriver

from infra.postgres import Postgres
from services.migrate.apply import migrate
from tests.conftest import Database
from tests.services.auth.conftest import Auth, auth_on
from tests.services.conftest import PASSWORDS, Platform

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def browser() -> Iterator[WebDriver]:
    """Large enough for a whole graph."""
    program = next((path for name in _NAMES if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs chromium and chromedriver: make browser")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # Root has no sandbox to offer, containers have a small /dev/shm, and the loopback needs no proxy.
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "no-proxy-server", "window-size=2400,1700"):
        options.add_argument(f"--{argument}")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def shared_auth(postgres: Postgres) -> Iterator[Auth]:
    name = f"pages_{uuid.uuid4().hex[:8]}"
    postgres.create_database(name)
    migrate(postgres.dsn(name), PASSWORDS)
    with auth_on(Platform(Database(postgres, name))) as auth:
        yield auth
    postgres.drop_database(name)


@pytest.fixture
def auth(shared_auth: Auth) -> Auth:
    """Shared by a file's tests; each makes members of its own."""
    return shared_auth
