"""The loop of one destination: read the feed, send what is due, remember."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cdc.relation import TableName
from lakehouse.lake import Lake
from pipelines.config import Config
from pipelines.errors import ConfigInvalid, Problem
from pipelines.outbox.destination import Destination, DestinationAway
from pipelines.outbox.feed import Feed
from pipelines.outbox.ledger import Ledger, Shelf
from pipelines.outbox.message import Place
from pipelines.outbox.sqs import Sqs
from pipelines.outbox.webhook import Webhook
from pipelines.sections import OutboxDestination

MOST_WAITING = 1_000  # bounds the ledger: beyond it the feed isn't read, the lake keeps the rest
_ROUND = 100  # sent between two writings of the ledger: as many may come twice after a crash


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Courier:
    """Delivers to one destination. ``clock`` is UTC."""

    feed: Feed
    shelf: Shelf
    destination: Destination
    max_attempts: int
    from_beginning: bool
    clock: Callable[[], datetime] = _now

    def round(self) -> tuple[Ledger, bool]:
        """Once through. Returns the ledger as written, and whether there is more to do right now."""
        ledger = self.shelf.read()
        wishes = list(self.shelf.asked())
        for _, skip in wishes:
            ledger.replay(skip=skip)
        whole = self._fill(ledger)
        sent = self._send(ledger)
        self.shelf.write(ledger)
        for name, _ in wishes:
            self.shelf.done(name)
        more = not whole or bool(ledger.due(self.clock(), 1))
        return ledger, more and (sent > 0 or not ledger.waiting)

    def _fill(self, ledger: Ledger) -> bool:
        """Whether all that the feed has is in the ledger."""
        if ledger.position is None:
            ledger.position = Place(0, 0) if self.from_beginning else self.feed.end()
        room = MOST_WAITING - len(ledger.waiting)
        if room <= 0:
            return False
        read = self.feed.read(ledger.position, room)
        ledger.take(read.messages, read.to, read.held_to if read.whole else ledger.held_to)
        return read.whole

    def _send(self, ledger: Ledger) -> int:
        """How many were delivered."""
        before = ledger.delivered
        due, size = ledger.due(self.clock(), _ROUND), self.destination.batch
        for start in range(0, len(due), size):
            group = due[start : start + size]
            try:
                outcomes = self.destination.send([entry.message for entry in group])
            except DestinationAway as error:
                ledger.away(str(error), self.clock())
                break
            for entry, why in zip(group, outcomes, strict=True):
                if why is None:
                    ledger.sent(entry)
                else:
                    ledger.refused(entry, why, self.clock(), self.max_attempts)
        return ledger.delivered - before


def courier(config: Config, told: OutboxDestination, lake: Lake) -> Courier:
    """Raises ConfigInvalid when a secret can't be read."""
    destination: Destination
    match told.kind:
        case "sqs":
            destination = Sqs(
                told.url, region=told.region, endpoint=told.endpoint or os.environ.get("AWS_ENDPOINT_URL")
            )
        case "webhook":
            destination = Webhook(told.url, secret=_secret(config, told))
    return Courier(
        Feed(lake, TableName.parse(told.table), told.events),
        shelf(config, told.name),
        destination,
        told.max_attempts,
        told.start == "beginning",
    )


def shelf(config: Config, name: str) -> Shelf:
    return Shelf(config.lake_root().store(), name)


def _secret(config: Config, told: OutboxDestination) -> bytes | None:
    if told.secret_file is None:
        return None
    path: Path = config.folder / told.secret_file.expanduser()
    try:
        return path.read_bytes().strip()
    except OSError as error:
        problem = Problem("outbox.destinations.secret_file", f"can't be read: {path}: {error.strerror}")
        raise ConfigInvalid(str(config.file), [problem]) from error
