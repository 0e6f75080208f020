"""One state machine per rule, and a message that really arrives."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from pipelines import config as configuration
from pipelines.alerts import Message, Notice, Phase, Reading, Standing, advance, from_cursor, step, to_cursor
from pipelines.defs.sensors import lag_alerts
from pipelines.errors import AlertNotDelivered
from pipelines.notify import notify
from tests.conftest import Database

NOW = datetime(2026, 4, 1, 3, 0, tzinfo=UTC)


def late(breached: bool = True, calm: bool = False) -> Reading:
    return Reading("lag", breached, calm, "late")


def test_one_late_tick_wakes_nobody() -> None:
    standing, notice = step(Standing(), late(), NOW)

    assert (standing.phase, notice) == (Phase.PENDING, None)
    assert step(standing, late(False, True), NOW) == (Standing(), None)


def test_a_lasting_breach_is_told_once_reminded_of_hourly_and_its_end_told_once() -> None:
    standing, told = Standing(), []
    for minute in range(150):
        standing, notice = step(standing, late(), NOW + timedelta(minutes=minute))
        told.append(notice)
    for minute in range(150, 160):
        standing, notice = step(standing, late(False, True), NOW + timedelta(minutes=minute))
        told.append(notice)

    assert [n for n in told if n] == [Notice.FIRING, Notice.REMINDER, Notice.REMINDER, Notice.RESOLVED]
    assert told.index(Notice.FIRING) == 1 and told.index(Notice.REMINDER) == 61


def test_a_value_that_hovers_below_the_threshold_neither_fires_nor_resolves() -> None:
    firing = Standing(Phase.FIRING, 0, NOW.isoformat())

    assert step(firing, late(False, False), NOW) == (firing, None)


def test_the_cursor_carries_every_standing_through_a_restart() -> None:
    standings, messages = advance({}, [late(), Reading("slot", True, False, "gone", ticks_to_fire=1)], "s", NOW)

    assert from_cursor(json.loads(json.dumps(to_cursor(standings)))) == standings
    assert [(m.key, m.notice) for m in messages] == [("rireki/s/slot", Notice.FIRING)]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook: its Apprise URL, and what it got."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    thread.join()
    server.server_close()


def config_file(folder: Path, database: Database, url: str) -> Path:
    file = folder / "rireki.toml"
    file.write_text(
        f'[source]\ndsn = "{database.dsn}"\n[lake]\nurl = "{folder / "lake"}"\n[alerts]\nurls = ["{url}"]\n'
    )
    return file


def test_the_sensor_tells_a_webhook_once_that_nobody_captures(
    receiver: tuple[str, list[dict[str, str]]], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = receiver
    monkeypatch.setenv("RIREKI_CONFIG", str(config_file(tmp_path, database, url)))
    cursor: str | None = None

    with dg.instance_for_test() as instance:
        for _ in range(8):
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            cursor = lag_alerts(context).cursor  # type: ignore[union-attr]

    assert [message["title"] for message in got] == ["[rireki rireki] slot-inactive firing"]
    assert "First: rireki capture" in got[0]["message"]


def test_a_receiver_that_is_away_is_an_error_so_that_the_next_tick_sends_again(
    database: Database, tmp_path: Path
) -> None:
    config = configuration.load(config_file(tmp_path, database, "json://127.0.0.1:1/"))

    with pytest.raises(AlertNotDelivered):
        notify(config, Message("k", Notice.FIRING, "t", "x"))
