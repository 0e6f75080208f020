"""fold(events) = state tables, row by row, in one snapshot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.journal import read
from services.journal.fold import State, fold
from services.journal.read import Connection
from services.journal.services import JOURNALS, Journal
from services.shared.event import Aggregate


@dataclass(frozen=True, slots=True)
class Compared:
    """One aggregate type. ``differing``: rows that differ, or that only one side has; the first few by id."""

    table: str
    rows: int
    events: int
    differing: int
    examples: tuple[str, ...]
    digest: str  # of the state, by id: the same on both sides where nothing differs


def verify(dsn: str) -> list[Compared]:
    """Raises StartupError, psycopg.Error."""
    with read.snapshot(dsn) as connection:
        return [_compare(connection, journal, aggregate) for journal in JOURNALS for aggregate in journal.aggregates]


def _compare(connection: Connection, journal: Journal, aggregate: Aggregate) -> Compared:
    seen, rows, differing = [0], 0, 0
    examples: list[str] = []
    digest = hashlib.sha256()

    def counted() -> Iterator[Any]:
        for event in read.events(connection, aggregate):
            seen[0] += 1
            yield event

    folded = ((id, state) for (_, id), state in fold(counted(), journal.upcasters))
    for id, told, held in _pairs(folded, read.states(connection, aggregate)):
        rows += held is not None
        digest.update(json.dumps(held, sort_keys=True).encode())
        if told != held:
            differing += 1
            examples = [*examples, str(id)][:3]
    table = f"{aggregate.schema}.{aggregate.table}"
    return Compared(table, rows, seen[0], differing, tuple(examples), digest.hexdigest()[:16])


def _pairs(
    left: Iterator[tuple[UUID, State]], right: Iterator[tuple[UUID, State]]
) -> Iterator[tuple[UUID, State | None, State | None]]:
    """Both by id, side by side; None where one has it not."""
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(right, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(left, None), next(right, None)
