"""``rireki outbox``: hand events on to queues and webhooks, and see how that goes."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Literal, assert_never

from cyclopts import Parameter

from lakehouse.errors import LakeEmpty, LakeUnreachable, UnknownTable
from lakehouse.lake import Lake
from pipelines.cli.console import ATTENTION, COMMON, DONE, Common, emit, moment, note, say, table
from pipelines.config import Config, load
from pipelines.errors import CommandInvalid
from pipelines.outbox.deliver import courier, shelf
from pipelines.outbox.ledger import Ledger
from pipelines.sections import OutboxDestination

Action = Literal["deliver", "status", "replay"]
_NOT_YET = (LakeUnreachable, LakeEmpty, UnknownTable)  # what time may heal


def outbox(
    action: Action,
    name: str | None = None,
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    skip: str | None = None,
    common: Common = COMMON,
) -> int:
    """Deliver domain events to the destinations of [outbox]: at least once, in order per aggregate.

    Parameters
    ----------
    action
        deliver: until stopped. status: what waits and what is parked. replay: send parked messages again.
    name
        One destination; all of them without it. Replay needs it.
    once
        Deliver what is due now, then stop.
    skip
        Of the parked messages, give up the one with this event id.
    """
    config = load(common.config)
    destinations = _named(config, name)
    match action:
        case "deliver":
            return _deliver(config, destinations, once, common)
        case "status":
            return _status(config, destinations, common)
        case "replay":
            return _replay(config, destinations, skip, common)
        case _:
            assert_never(action)


def _named(config: Config, name: str | None) -> list[OutboxDestination]:
    known = config.outbox.destinations
    found = [one for one in known if name in (None, one.name)]
    if not found:
        raise CommandInvalid(
            f"there are {', '.join(one.name for one in known)}" if known else "no destination is configured",
            subject=f"rireki outbox {name or ''}".strip(),
            fix=f"add [[outbox.destinations]] to {config.file}; see docs/operating/outbox.md",
        )
    return found


def _deliver(config: Config, destinations: list[OutboxDestination], once: bool, common: Common) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    lake = Lake.open(config.lake_root())
    couriers = {one.name: courier(config, one, lake) for one in destinations}
    ledgers: dict[str, Ledger] = {}
    while not stop.is_set():
        busy = False
        for name, one in couriers.items():
            try:
                ledgers[name], more = one.round()
            except _NOT_YET as error:
                if once:
                    raise
                note(f"{name}: {error}; tried again in {config.outbox.poll_seconds:g} s")
                continue
            busy = busy or more
        if busy:
            continue
        if once:
            break
        stop.wait(config.outbox.poll_seconds)
    return _tell(ledgers, common)


def _status(config: Config, destinations: list[OutboxDestination], common: Common) -> int:
    return _tell({one.name: shelf(config, one.name).read() for one in destinations}, common)


def _replay(config: Config, destinations: list[OutboxDestination], skip: str | None, common: Common) -> int:
    if len(destinations) != 1:
        raise CommandInvalid("name one destination", subject="rireki outbox replay", fix="rireki outbox replay NAME")
    (one,) = destinations
    place = shelf(config, one.name)
    parked = [entry.message.id for entry in place.read().parked]
    if skip is not None and skip not in parked:
        raise CommandInvalid(
            "no such message is parked", subject=skip, fix=f"rireki outbox status {one.name} lists them"
        )
    place.ask_replay(skip)
    if common.json:
        emit({"destination": one.name, "asked_for": len(parked) - (skip is not None), "given_up": skip})
    else:
        say(f"{len(parked)} parked messages are sent again by whoever delivers: rireki outbox deliver")
    return DONE


def _tell(ledgers: dict[str, Ledger], common: Common) -> int:
    attention = any(ledger.parked or ledger.away_since for ledger in ledgers.values())
    if common.json:
        emit({"destinations": {name: _described(ledger) for name, ledger in ledgers.items()}})
        return ATTENTION if attention else DONE
    table(
        ["destination", "delivered", "waiting", "parked", "read to", "away since", "says"],
        [
            [
                *(name, ledger.delivered, len(ledger.waiting), len(ledger.parked)),
                *(ledger.held_to and moment(ledger.held_to), ledger.away_since and moment(ledger.away_since)),
                ledger.away_why,
            ]
            for name, ledger in ledgers.items()
        ],
    )
    for name, ledger in ledgers.items():
        for entry in ledger.parked:
            note(f"{name}: {entry.message.id} ({entry.message.event_type}, {entry.message.aggregate}): {entry.why}")
    return ATTENTION if attention else DONE


def _described(ledger: Ledger) -> dict[str, object]:
    return {
        "delivered": ledger.delivered,
        "waiting": len(ledger.waiting),
        "parked": [
            {
                **{"event_id": entry.message.id, "event_type": entry.message.event_type},
                **{"aggregate": entry.message.aggregate, "attempts": entry.attempts, "why": entry.why},
            }
            for entry in ledger.parked
        ],
        "read_to": ledger.held_to,
        "away_since": ledger.away_since,
        "away_why": ledger.away_why,
    }
