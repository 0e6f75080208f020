"""Events reach whoever can't read the lake: at least once, in order, and nothing is forgotten."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from pipelines.cli import run
from pipelines.outbox.deliver import Courier, shelf
from pipelines.outbox.ledger import Ledger
from pipelines.outbox.message import Message
from pipelines.outbox.sqs import Sqs
from pipelines.outbox.webhook import Webhook
from tests.outbox.conftest import SECRET, Clock, Queue, Receiver, Source


def _all(courier: Courier) -> Ledger:
    """Rounds until nothing is due."""
    more = True
    while more:
        ledger, more = courier.round()
    return ledger


def _versions(got: Sequence[dict[str, Any]], person: str) -> list[int]:
    return [event["aggregate_version"] for event in got if event["aggregate_id"] == person]


def test_what_committed_is_delivered_once_in_order_and_what_rolled_back_never(source: Source, queue: Queue) -> None:
    source.log_in("yoko")  # told by the copy
    source.follow()
    courier = source.courier(Sqs(queue.url, region="us-east-1", endpoint=queue.endpoint))
    _all(courier)
    source.log_in("misaki", rolled_back=True)
    for _ in range(12):
        source.log_in("yoko")
        source.log_in("ken")
    source.log_in("ken", "password.set")  # not asked for
    source.follow()

    ledger = _all(courier)
    got = queue.receive()

    assert _versions(got, "yoko") == list(range(1, 14))
    assert _versions(got, "ken") == list(range(1, 13))
    assert len(got) == ledger.delivered == 25
    assert got[0]["after"] == {"person": "yoko", "version": 1}
    assert (ledger.waiting, ledger.parked) == ([], [])


def test_a_crash_before_the_ledger_is_written_sends_again_under_the_same_id(
    source: Source, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [source.log_in("yoko") for _ in range(3)]
    source.follow()
    courier = source.courier(Webhook(receiver.url, secret=SECRET))

    def crash(_: Ledger) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(courier.shelf, "write", crash)
        courier.round()
    assert receiver.ids == ids[:1]
    _all(courier)

    assert receiver.ids == [ids[0], *ids]  # at least once; who gets one twice sees it by the id
    assert list(dict.fromkeys(receiver.ids)) == ids
    assert receiver.forged == 0


def test_a_queue_drops_what_comes_twice(source: Source, queue: Queue) -> None:
    source.log_in("yoko")
    source.follow()
    destination = Sqs(queue.url, region="us-east-1", endpoint=queue.endpoint)
    courier = source.courier(destination)
    _all(courier)
    message = Message("e-1", "account/yoko", "login.succeeded", {"n": 1})

    destination.send([message])
    destination.send([message])

    assert len(queue.receive()) == 2


def test_while_nobody_answers_all_wait_for_longer_and_longer_and_none_is_blamed(
    source: Source, receiver: Receiver, clock: Clock
) -> None:
    for _ in range(3):
        source.log_in("yoko")
    source.follow()
    receiver.answer = lambda _: 503
    courier = source.courier(Webhook(receiver.url, secret=SECRET), clock=clock)

    waits = []
    for _ in range(6):
        ledger, _more = courier.round()
        assert ledger.away_until is not None
        waits.append((ledger.away_until - clock.now).total_seconds())
        clock.later(waits[-1])
    receiver.answer = lambda _: 204
    ledger = _all(courier)

    assert waits == [1, 2, 4, 8, 16, 32]
    assert _versions(receiver.got, "yoko") == [1, 2, 3]
    assert (ledger.away_since, ledger.parked) == (None, [])


def test_a_poison_message_is_parked_with_its_aggregate_and_holds_up_nobody_else(
    source: Source, receiver: Receiver, clock: Clock
) -> None:
    poison = source.log_in("yoko")
    for _ in range(2):
        source.log_in("yoko")
        source.log_in("ken")
    source.follow()
    receiver.answer = lambda event: 422 if event["event_id"] == poison else 204
    courier = source.courier(Webhook(receiver.url, secret=SECRET), clock=clock)

    for _ in range(4):
        ledger = _all(courier)
        clock.later(60)
    source.log_in("yoko")
    source.follow()
    ledger = _all(courier)

    assert _versions(receiver.got, "ken") == [1, 2]
    assert _versions(receiver.got, "yoko") == []  # nothing overtakes what is parked
    assert [entry.message.body["aggregate_version"] for entry in ledger.parked] == [1, 2, 3, 4]
    assert [entry.why for entry in ledger.parked] == ["HTTP 422"] + ["behind a parked one"] * 3
    assert ledger.parked[0].attempts == 3

    receiver.answer = lambda _: 204  # the receiver is mended
    courier.shelf.ask_replay(None)
    ledger = _all(courier)

    assert _versions(receiver.got, "yoko") == [1, 2, 3, 4]
    assert ledger.parked == []


def test_of_what_is_parked_one_message_may_be_given_up(source: Source, receiver: Receiver) -> None:
    poison = source.log_in("yoko")
    source.log_in("yoko")
    source.follow()
    receiver.answer = lambda event: 400 if event["event_id"] == poison else 204
    courier = source.courier(Webhook(receiver.url, secret=SECRET), max_attempts=1)
    assert len(_all(courier).parked) == 2

    courier.shelf.ask_replay(poison)
    ledger = _all(courier)

    assert _versions(receiver.got, "yoko") == [2]
    assert (ledger.parked, ledger.waiting) == ([], [])


def test_a_message_that_spoils_its_batch_is_found_and_the_others_go(source: Source, queue: Queue) -> None:
    for person in ("yoko", "ken", "misaki"):
        source.log_in(person)
    source.follow()
    source.database.execute(
        "INSERT INTO auth.events SELECT gen_random_uuid(), 'account', 'large', 1, 'login.succeeded', "
        "jsonb_build_object('x', repeat('y', 2000000)), now()"
    )
    source.follow()

    ledger = _all(source.courier(Sqs(queue.url, region="us-east-1", endpoint=queue.endpoint), max_attempts=1))

    assert {event["aggregate_id"] for event in queue.receive()} == {"yoko", "ken", "misaki"}
    assert [entry.message.aggregate for entry in ledger.parked] == ["account/large"]


def test_a_second_copy_of_the_table_tells_nothing_again(source: Source, receiver: Receiver) -> None:
    source.log_in("yoko")
    source.follow()
    courier = source.courier(Webhook(receiver.url, secret=SECRET))
    _all(courier)
    source.log_in("yoko")
    source.follow()
    assert run(["resync", "auth.events", "--config", str(source.file)]) == 0
    source.follow()

    _all(courier)

    assert _versions(receiver.got, "yoko") == [1, 2]


def test_a_new_destination_begins_with_what_comes_unless_asked_for_the_past(source: Source, receiver: Receiver) -> None:
    source.log_in("yoko")
    source.follow()
    courier = source.courier(Webhook(receiver.url, secret=SECRET), from_beginning=False)
    _all(courier)
    source.log_in("yoko")
    source.follow()

    _all(courier)

    assert _versions(receiver.got, "yoko") == [2]


def test_the_command_delivers_tells_and_replays(
    source: Source, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    poison = source.log_in("yoko")
    source.follow()
    secret = source.file.with_name("secret")
    secret.write_bytes(SECRET)
    with source.file.open("a") as file:
        file.write(
            f'[[outbox.destinations]]\nname = "history"\nkind = "webhook"\nurl = "{receiver.url}"\n'
            'start = "beginning"\nmax_attempts = 1\nsecret_file = "secret"\n'
        )
    receiver.answer = lambda _: 410

    def outbox(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = run(["outbox", *arguments, "--config", str(source.file), "--json"])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    code, told = outbox("deliver", "--once")
    assert code == 1
    (parked,) = told["destinations"]["history"]["parked"]
    assert (parked["event_id"], parked["why"]) == (poison, "HTTP 410")
    assert outbox("status") == (code, told)
    assert outbox("replay", "history", "--skip", "nothing")[0] == 2
    receiver.answer = lambda _: 200
    assert outbox("replay", "history")[0] == 0
    code, told = outbox("deliver", "--once")

    assert code == 0
    assert told["destinations"]["history"]["delivered"] == 1
    assert receiver.ids == [poison]
    assert receiver.forged == 0
    assert shelf(source.config, "history").read().parked == []


def test_delivering_waits_for_a_lake_that_is_not_there_yet_and_stops_when_told(
    source: Source, receiver: Receiver
) -> None:
    with source.file.open("a") as file:
        file.write(
            f'[[outbox.destinations]]\nname = "history"\nkind = "webhook"\nurl = "{receiver.url}"\n'
            'start = "beginning"\n'
        )
    command = [sys.executable, "-m", "pipelines.cli", "outbox", "deliver", "--json", "--config", str(source.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "tried again" in process.stderr.readline()
        source.log_in("yoko")
        source.follow()
        deadline = time.monotonic() + 60
        while not receiver.ids and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert json.loads(told.splitlines()[-1])["destinations"]["history"]["delivered"] == 1
    assert _versions(receiver.got, "yoko") == [1]


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ('name = "x"\nkind = "sqs"\nurl = "https://sqs/queue"', "FIFO"),
        ('name = "x"\nkind = "webhook"\nurl = "ftp://x"', "https://"),
        ('name = "X y"\nkind = "webhook"\nurl = "https://x"', "name"),
        ('name = "x"\nkind = "webhook"\nurl = "https://x"\ntypo = 1', "no such setting"),
    ],
)
def test_a_destination_that_can_not_be_is_refused(
    told: str, what: str, source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    with source.file.open("a") as file:
        file.write(f"[[outbox.destinations]]\n{told}\n")

    assert run(["outbox", "status", "--config", str(source.file)]) == 2
    assert what in capsys.readouterr().err
