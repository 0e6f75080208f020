"""What a person sees who opens Dagster. The picture is kept as ``asset-graph.png`` in the test's own folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from infra.ports import LOOPBACK, free_port
from infra.program import Program, http
from infra.state import StateFolder
from tests.conftest import Database

PATIENCE_S = 60.0
SETTINGS = Path(__file__).parents[2] / "dagster_home" / "dagster.yaml"


@pytest.fixture
def dagster_url(database: Database, state_folder: StateFolder, tmp_path: Path) -> Iterator[str]:
    """The UI over a source that publishes two tables."""
    database.execute(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id int PRIMARY KEY)",
        "CREATE TABLE shop.customers (id int PRIMARY KEY)",
        f"CREATE PUBLICATION {database.name} FOR TABLE shop.orders, shop.customers",
    )
    config, home = tmp_path / "rireki.toml", tmp_path / "dagster"
    config.write_text(
        f'[source]\ndsn = "{database.dsn}"\n[stream]\nname = "{database.name}"\n[lake]\nurl = "{tmp_path / "lake"}"\n'
    )
    home.mkdir()
    (home / "dagster.yaml").write_text(SETTINGS.read_text())
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    command = [
        sys.executable,
        "-m",
        "dagster_webserver",
        "-m",
        "pipelines.definitions",
        "-h",
        LOOPBACK,
        "-p",
        str(port),
    ]
    environment = {"DAGSTER_HOME": str(home), "RIREKI_CONFIG": str(config)}
    ready = http(f"{url}/server_info")
    with Program.start(state_folder, "browsed-dagster", command, ready=ready, ready_within_s=150, env=environment):
        yield url


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_graph_page_shows_every_station_of_every_table(
    browser: WebDriver, dagster_url: str, tmp_path: Path
) -> None:
    browser.get(f"{dagster_url}/asset-groups")
    shows(browser, {"source", "ingest", "changelog", "current", "ops"})

    ActionChains(browser).key_down(Keys.ALT).send_keys("e").key_up(Keys.ALT).perform()  # expand every group

    shows(browser, {"stream", "transactions", "cuts", "orders", "customers"})
    browser.save_screenshot(str(tmp_path / "asset-graph.png"))
    for table in ("orders", "customers"):
        assert words(browser).count(table) >= 3  # in the source, its changelog, its current state


def words(browser: WebDriver) -> list[str]:
    return str(browser.execute_script("return document.body.innerText")).split()


def shows(browser: WebDriver, wanted: set[str]) -> None:
    WebDriverWait(browser, PATIENCE_S).until(lambda _: wanted <= set(words(browser)), f"the page shows {wanted}")
