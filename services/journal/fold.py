"""Events → state. Pure.

Two times: an event is *recorded* when it was written, and *effective* from when it counts in the world, which may be
earlier (a designation that came back-dated) or later. ``known_at`` leaves out what was recorded afterwards,
``valid_at`` what counts only afterwards. Of two events about one column the one recorded later is right, from its
effective time on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from services.shared.event import Upcaster

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """As the table has it; ``after`` in the words of ``schema_version``."""

    aggregate_type: str
    aggregate_id: UUID
    aggregate_version: int
    schema_version: int
    after: Mapping[str, Any]
    effective_at: datetime  # aware
    recorded_at: datetime  # aware

    @property
    def aggregate(self) -> tuple[str, UUID]:
        return self.aggregate_type, self.aggregate_id


def upcast(event: Event, upcasters: Mapping[tuple[str, int], Upcaster]) -> State:
    """The state after it, in today's words."""
    after, version = dict(event.after), event.schema_version
    while (step := upcasters.get((event.aggregate_type, version))) is not None:
        after, version = step(after), version + 1
    return after


def fold(
    events: Iterable[Event],
    upcasters: Mapping[tuple[str, int], Upcaster],
    *,
    valid_at: datetime | None = None,
    known_at: datetime | None = None,
) -> Iterator[tuple[tuple[str, UUID], State]]:
    """The state of each aggregate that exists at that instant, in the order of the events.

    ``events``: each aggregate's together, by version. None: no limit.
    """
    for aggregate, own in groupby(events, key=lambda event: event.aggregate):
        state = _state(own, upcasters, valid_at, known_at)
        if state is not None:
            yield aggregate, state


def _state(
    events: Iterable[Event],
    upcasters: Mapping[tuple[str, int], Upcaster],
    valid_at: datetime | None,
    known_at: datetime | None,
) -> State | None:
    state: State | None = None
    before: State | None = None  # as recorded, whether it counts or not: an event changed what differs from this
    for event in events:
        if known_at is not None and event.recorded_at > known_at:
            break
        after = upcast(event, upcasters)
        counts = valid_at is None or event.effective_at <= valid_at
        if before is None:
            if not counts:
                return None  # it comes to be only later
            state = dict(after)
        elif counts and state is not None:
            state.update((name, value) for name, value in after.items() if before.get(name) != value)
        before = after
    return state
