"""When somebody is told: the rules by themselves, then a message that really arrives."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.alerts import AlertState, Finding, Kind, Ledger, Notice, Phase, Rule, step
from pipelines.notify import addressed, deliver
from pipelines.sections import Alerts

NOON = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
LOOK = timedelta(seconds=30)
RULE = Rule("lag", fires_after=2, resolves_after=2)
LATE, HOVERING, WELL = 2.0, 0.9, 0.1


def told(levels: list[float | None], rule: Rule = RULE) -> list[Kind | None]:
    """What each of these looks tells."""
    state, kinds = AlertState(), []
    for number, level in enumerate(levels):
        state, kind = step(state, rule, level, NOON + number * LOOK)
        kinds.append(kind)
    return kinds


def judged(ledger: Ledger, level: float | None, look: int = 0, targets: int = 1) -> Ledger:
    finding = Finding(RULE, level, "rireki is late", "all of it")
    return ledger.judge([finding], "here/rireki", targets, NOON + look * LOOK)[0]


def kinds(ledger: Ledger) -> list[Kind]:
    return [one.notice.kind for one in ledger.undelivered]


def test_one_late_look_wakes_nobody() -> None:
    assert told([LATE, WELL, LATE, HOVERING, LATE]) == [None] * 5


def test_a_rule_that_fires_at_once_needs_no_second_look() -> None:
    assert told([math.inf], Rule("slot_loss", fires_after=1, resolves_after=2)) == [Kind.FIRING]


def test_a_lasting_lag_is_told_once_then_every_hour_then_its_end_once() -> None:
    found = told([LATE] * 300 + [WELL] * 10)

    assert [kind for kind in found if kind] == [Kind.FIRING, Kind.REMINDER, Kind.REMINDER, Kind.RESOLVED]
    assert [number for number, kind in enumerate(found) if kind] == [1, 121, 241, 301]


def test_a_lag_that_hovers_below_the_threshold_neither_begins_nor_ends_an_alert() -> None:
    assert told([HOVERING] * 10) == [None] * 10
    assert told([LATE, LATE, *[HOVERING] * 10, WELL, HOVERING, WELL, LATE, WELL]) == [None, Kind.FIRING, *[None] * 15]


def test_looks_that_cannot_tell_leave_an_alert_where_it_is() -> None:
    assert told([LATE, None, None, LATE, None, WELL, None, WELL]) == [
        *[None] * 3,
        Kind.FIRING,
        *[None] * 3,
        Kind.RESOLVED,
    ]


@given(st.lists(st.sampled_from([LATE, HOVERING, WELL, None]), max_size=60))
def test_every_end_has_one_beginning_before_it(levels: list[float | None]) -> None:
    found = [kind for kind in told(levels) if kind is not None and kind is not Kind.REMINDER]

    assert found[::2] == [Kind.FIRING] * len(found[::2])
    assert found[1::2] == [Kind.RESOLVED] * len(found[1::2])


@given(st.lists(st.sampled_from([LATE, HOVERING, WELL, None]), max_size=60))
def test_what_is_remembered_survives_being_written_down(levels: list[float | None]) -> None:
    ledger = Ledger()
    for look, level in enumerate(levels):
        ledger = judged(ledger, level, look)

    assert Ledger.read(ledger.text()) == ledger


def test_a_cursor_that_cannot_be_read_starts_anew() -> None:
    assert Ledger.read('{"states": {"lag": {"phase": "on fire"}}}') == Ledger()


def test_what_could_not_be_delivered_waits_for_the_next_look() -> None:
    firing = judged(judged(Ledger(), LATE), LATE, look=1)

    later = judged(firing, LATE, look=2)

    assert kinds(firing) == kinds(later) == [Kind.FIRING]
    assert kinds(later.delivered(later.undelivered)) == []


def test_an_alert_whose_beginning_nobody_heard_of_ends_silently() -> None:
    firing = judged(judged(Ledger(), LATE), LATE, look=1)

    ended = judged(judged(firing, WELL, look=2), WELL, look=3)

    assert kinds(ended) == []
    assert ended.states["lag"].phase is Phase.OK


def test_a_beginning_that_waited_for_an_hour_is_still_told_as_a_beginning() -> None:
    firing = judged(judged(Ledger(), LATE), LATE, look=1)

    assert kinds(judged(firing, LATE, look=200)) == [Kind.FIRING]


def test_each_receiver_has_its_own_delivery() -> None:
    firing = judged(judged(Ledger(), LATE, targets=2), LATE, look=1, targets=2)

    rest = firing.delivered(firing.undelivered[:1])

    assert [one.target for one in judged(rest, LATE, look=2, targets=2).undelivered] == [1]
    assert judged(rest, LATE, look=2, targets=1).undelivered == ()  # taken out of the configuration


def test_all_notices_of_an_alert_share_a_key_that_a_pager_can_hold() -> None:
    finding = Finding(RULE, LATE, "late", "")
    states = {"lag": AlertState(Phase.PENDING, 1, NOON)}

    _, (short,) = Ledger(states).judge([finding], "s3://lake/platform", 0, NOON)
    _, (long,) = Ledger(states).judge([finding], "s3://" + "x" * 400, 0, NOON)

    assert short.key == "rireki/s3://lake/platform/lag"
    assert len(long.key) < 255


def test_a_pager_is_told_which_incident_it_is() -> None:
    notice = Notice("lag", Kind.FIRING, "rireki/s3://a b/lag", "t", "b")

    assert addressed("pagerduty://key@api", notice) == (
        "pagerduty://key@api?dedup=rireki%2Fs3%3A%2F%2Fa%20b%2Flag&action=map"
    )
    assert addressed("mailto://me:secret@example.com", notice) == "mailto://me:secret@example.com"


@dataclass
class Webhook:
    """A receiver on the loopback. ``answers``: with which status, the last one for ever."""

    url: str
    answers: list[int]
    got: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hook = Webhook("", [200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if status == 200:
                hook.got.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hook.url = f"json://127.0.0.1:{server.server_port}/hook?:team=platform"
    yield hook
    server.shutdown()
    thread.join()
    server.server_close()


def run(hook: Webhook, levels: list[float | None]) -> Ledger:
    alerts, ledger = Alerts(urls=(hook.url,)), Ledger()
    for look, level in enumerate(levels):
        ledger = judged(ledger, level, look)
        ledger = ledger.delivered(deliver(alerts, ledger.undelivered))
    return ledger


def test_a_webhook_hears_of_the_beginning_once_and_of_the_end_once(webhook: Webhook) -> None:
    run(webhook, [LATE] * 20 + [WELL] * 20)

    assert [(body["title"], body["type"], body["action"]) for body in webhook.got] == [
        ("[firing] rireki is late", "failure", "trigger"),
        ("[resolved] rireki is late", "success", "resolve"),
    ]
    assert [key for key, _ in groupby(body["dedup_key"] for body in webhook.got)] == ["rireki/here/rireki/lag"]
    assert webhook.got[0]["team"] == "platform"
    assert webhook.got[1]["message"].startswith("Since 2026-04-01 12:00:00 UTC, 10 min 30 s.\nall of it")


def test_a_webhook_that_was_away_hears_of_it_at_the_next_look(webhook: Webhook) -> None:
    webhook.answers = [503, 503, 200]

    ledger = run(webhook, [LATE] * 6)

    assert [body["title"] for body in webhook.got] == ["[firing] rireki is late"]
    assert ledger.undelivered == ()


def test_one_receiver_that_hangs_does_not_keep_the_others_waiting(webhook: Webhook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alerts = Alerts(urls=(f"json://127.0.0.1:{silent.getsockname()[1]}/", webhook.url, "nosuch://receiver"))
        ledger = judged(judged(Ledger(), LATE, targets=3), LATE, look=1, targets=3)

        arrived = deliver(alerts, ledger.undelivered, patience_s=2)

    assert [one.target for one in arrived] == [1]
    assert len(webhook.got) == 1
