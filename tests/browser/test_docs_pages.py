"""The description of each API, as a developer sees it who has no internet."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.services.auth.conftest import Auth
from tests.services.conftest import served

PATIENCE_S = 20.0


@pytest.mark.parametrize(
    ("service", "operation"),
    [("directory", "/v1/users"), ("asset", "/v1/licenses/check"), ("auth", "/.well-known/openid-configuration")],
)
def test_the_docs_are_shown_whole_and_ask_no_foreign_host(
    browser: WebDriver, auth: Auth, service: str, operation: str
) -> None:
    with served(auth.platform, "asset") as asset:
        urls = {"directory": auth.directory.http.base_url, "asset": asset.http.base_url, "auth": auth.issuer}
        url = str(urls[service]).rstrip("/")
        browser.get(f"{url}/docs")
        WebDriverWait(browser, PATIENCE_S).until(
            # Swagger UI puts a soft place to break after each slash.
            lambda found: operation in found.find_element("id", "swagger-ui").text.replace("\u200b", "")
        )
        asked = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")

    assert {urlsplit(one).netloc for one in asked} == {urlsplit(url).netloc}
    assert any(one.endswith("/openapi.json") for one in asked)


@pytest.mark.parametrize("path", ["/docs/../v1/users", "/docs/files/../../v1/users", "/docs/files/%2e%2e/core.py"])
def test_the_open_files_are_no_way_around_the_token(auth: Auth, path: str) -> None:
    response = auth.directory.http.get(path, headers={"Authorization": "none"})

    assert response.status_code in {401, 404}
