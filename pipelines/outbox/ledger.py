"""What of one destination waits, what is parked, and how far the feed was read: one object in the lake.

Every message that the feed gave is delivered, waiting or parked; that is what makes "at least once" true whenever the
ledger is written. Pure, but for :class:`Shelf`, which keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from uuid import uuid4

from lakehouse.store import Store
from pipelines.outbox.message import Message, Place

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 300.0


def wait_after(attempts: int) -> timedelta:
    """One second, doubled by each further attempt, five minutes at most."""
    return timedelta(seconds=min(_FIRST_WAIT_S * 2 ** min(attempts - 1, 16), _LONGEST_WAIT_S))


@dataclass(slots=True)
class Entry:
    """A message under way. ``why``: what the destination said last."""

    message: Message
    attempts: int = 0
    not_before: datetime | None = None
    why: str = ""


@dataclass(slots=True)
class Ledger:
    """Both lists in the order of the feed."""

    position: Place | None = None  # None: the feed wasn't read yet
    waiting: list[Entry] = field(default_factory=list)
    parked: list[Entry] = field(default_factory=list)
    delivered: int = 0
    held_to: datetime | None = None  # everything up to this source time was read
    away_since: datetime | None = None
    away_attempts: int = 0
    away_until: datetime | None = None
    away_why: str = ""

    def take(self, messages: list[Message], to: Place, held_to: datetime | None) -> None:
        """What the feed gave. Behind a parked message of its aggregate a new one is parked at once."""
        parked = {entry.message.aggregate for entry in self.parked}
        for message in messages:
            if message.aggregate in parked:
                self.parked.append(Entry(message, why="behind a parked one"))
            else:
                self.waiting.append(Entry(message))
        self.position, self.held_to = to, held_to

    def due(self, now: datetime, limit: int) -> list[Entry]:
        """What may be sent now: of each aggregate the oldest that waits, if its time has come."""
        if self.away_until is not None and self.away_until > now:
            return []
        seen: set[str] = set()
        found = []
        for entry in self.waiting:
            first = entry.message.aggregate not in seen
            seen.add(entry.message.aggregate)
            if first and (entry.not_before is None or entry.not_before <= now):
                found.append(entry)
                if len(found) == limit:
                    break
        return found

    def sent(self, entry: Entry) -> None:
        self.waiting.remove(entry)
        self.delivered += 1
        self.away_since = self.away_until = None
        self.away_attempts, self.away_why = 0, ""

    def refused(self, entry: Entry, why: str, now: datetime, max_attempts: int) -> None:
        """Not this message. After ``max_attempts`` it is parked, with all of its aggregate that wait behind it."""
        entry.attempts, entry.why = entry.attempts + 1, why
        if entry.attempts < max_attempts:
            entry.not_before = now + wait_after(entry.attempts)
            return
        aggregate = entry.message.aggregate
        behind = [e for e in self.waiting if e.message.aggregate == aggregate]
        self.waiting = [e for e in self.waiting if e.message.aggregate != aggregate]
        self.parked += [entry, *(replace(e, why="behind a parked one") for e in behind if e is not entry)]

    def away(self, why: str, now: datetime) -> None:
        """Nobody there: no message's fault. All wait."""
        self.away_attempts += 1
        self.away_since = self.away_since or now
        self.away_until, self.away_why = now + wait_after(self.away_attempts), why

    def replay(self, *, skip: str | None = None) -> None:
        """Parked messages wait again, from their first attempt; ``skip`` is given up for good."""
        again = [Entry(entry.message) for entry in self.parked if entry.message.id != skip]
        self.parked = []
        self.waiting = again + self.waiting


class Shelf:
    """Where a destination's ledger lies: ``outbox/<name>.json`` below the lake's root.

    Two who deliver at once may send twice; each writes a ledger that is whole, so nothing is lost.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._path, self._asked = store, f"outbox/{name}.json", f"outbox/{name}.replay"

    def read(self) -> Ledger:
        body = self._store.get(self._path)
        return Ledger() if body is None else _parsed(json.loads(body))

    def write(self, ledger: Ledger) -> None:
        self._store.replace(self._path, json.dumps(_plain(ledger), ensure_ascii=False).encode())

    def ask_replay(self, skip: str | None) -> None:
        """Whoever delivers does it: two writers of one ledger would undo each other's work."""
        self._store.put(f"{self._asked}/{uuid4().hex}.json", json.dumps({"skip": skip}).encode())

    def asked(self) -> Iterator[tuple[str, str | None]]:
        """Each wish and what it gives up; ``done`` when the ledger that carries it out is written."""
        for name in self._store.names(self._asked):
            body = self._store.get(f"{self._asked}/{name}")
            if body is not None:
                yield name, json.loads(body)["skip"]

    def done(self, name: str) -> None:
        self._store.remove(f"{self._asked}/{name}")


def _plain(ledger: Ledger) -> dict[str, object]:
    told = asdict(ledger)
    for name, value in told.items():
        if isinstance(value, datetime):
            told[name] = value.isoformat()
    told["position"] = ledger.position and ledger.position.to_json()
    for entry in (*told["waiting"], *told["parked"]):
        entry["not_before"] = entry["not_before"] and entry["not_before"].isoformat()
    return told


def _parsed(told: dict[str, object]) -> Ledger:
    def moment(text: object) -> datetime | None:
        return datetime.fromisoformat(text) if isinstance(text, str) else None

    def entries(name: str) -> list[Entry]:
        listed = told[name]
        assert isinstance(listed, list)
        return [Entry(Message(**e["message"]), e["attempts"], moment(e["not_before"]), e["why"]) for e in listed]

    position = told["position"]
    return Ledger(
        Place(*position) if isinstance(position, list) else None,
        entries("waiting"),
        entries("parked"),
        int(str(told["delivered"])),
        moment(told["held_to"]),
        moment(told["away_since"]),
        int(str(told["away_attempts"])),
        moment(told["away_until"]),
        str(told["away_why"]),
    )
