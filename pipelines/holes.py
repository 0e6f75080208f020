"""Whether the slot can carry on where the lake ends, or whether what lies between is gone.

The lake remembers its end, and of its source the system identifier, the database's oid and the timeline. Asked at every
connection, so also when a running stream comes back from a broken one:

    another system identifier, another oid      another server; a database made anew
    another timeline that left ours too early   restored to an earlier state, or failed over to one
    a log that ends before the lake             the same, on the same timeline
    no slot, a lost one, one that starts later  PostgreSQL no longer keeps what the lake lacks

The one case that leaves no trace in positions, an earlier state on the same timeline whose log has meanwhile outgrown
the lake, is found by ``Witness``: what the server sends again must be what the lake holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from cdc.batch import Batch
from cdc.errors import SlotLost, SourceError, SourceReplaced
from cdc.lsn import Lsn
from cdc.slot import SlotState, SourceIdentity, identify, read_slot, timeline_ended_at
from cdc.source import address, connect, explained
from lakehouse.stream_end import StreamEnd
from pipelines.config import Config

ForkOf = Callable[[int, int], Lsn | None]
"""Where a timeline ended, by the history of a later one; None where that history doesn't contain it."""


def look_for_hole(
    config: Config, reached: Lsn, remembered: Mapping[str, int]
) -> tuple[SourceIdentity, SlotState | None, SourceError | None]:
    """Ask the source. ``reached``: the lake holds every commit below it. Raises SourceUnreachable, PrivilegeMissing."""
    dsn, slot = config.conninfo(), config.stream.slot_name
    with explained(dsn, slot=slot), connect(dsn) as connection:
        state = read_slot(connection, slot)
    identity = identify(dsn)

    def fork_of(timeline: int, later: int) -> Lsn | None:
        return timeline_ended_at(dsn, timeline, later)

    return identity, state, judge(address(dsn), slot, reached, remembered, identity, state, fork_of)


def hole_of(config: Config, end: StreamEnd) -> SourceError | None:
    """The hole behind a stream's end, as any process may ask; None for a lake that holds nothing of it."""
    return None if end.durable_to is None else look_for_hole(config, end.durable_to, end.source)[2]


def judge(
    source: str,
    slot: str,
    reached: Lsn,
    remembered: Mapping[str, int],
    now: SourceIdentity,
    state: SlotState | None,
    fork_of: ForkOf,
) -> SourceError | None:
    """What keeps the stream from carrying on; None if nothing does."""
    if replaced := _replaced(reached, remembered, now, fork_of):
        return SourceReplaced(replaced, subject=source)
    if lost := _lost(reached, state):
        return SlotLost(lost, subject=f"slot {slot}")
    return None


def _replaced(reached: Lsn, remembered: Mapping[str, int], now: SourceIdentity, fork_of: ForkOf) -> str | None:
    system, database = (remembered.get(name) for name in ("system", "database"))
    timeline = remembered.get("timeline", now.timeline)
    if system is not None and system != now.remembered()["system"]:
        return f"its system identifier is {now.system_identifier}, not that of the server which filled the lake"
    if database is not None and database != now.database_oid:
        return f"the database was made anew: its oid is {now.database_oid}, the lake was filled from {database}"
    if now.timeline < timeline:
        return f"it is on timeline {now.timeline}, the lake has followed it to {timeline}: restored to an earlier state"
    if now.timeline > timeline:
        fork = fork_of(timeline, now.timeline)
        if fork is None or fork < reached:
            left = "never came from it" if fork is None else f"left it at {fork}, before the lake's end at {reached}"
            return f"timeline {now.timeline} {left}: it lacks commits of timeline {timeline} that the lake holds"
    if now.flushed < reached:
        return f"its log ends at {now.flushed}, before the lake's {reached}: restored to an earlier state"
    return None


def _lost(reached: Lsn, state: SlotState | None) -> str | None:
    if state is None:
        return f"it is gone, and with it what PostgreSQL kept from {reached} on, where the lake ends"
    if state.is_lost:
        return f"PostgreSQL has removed WAL that it still needed; the lake ends at {reached}"
    if state.confirmed_flush > reached:
        return f"it starts at {state.confirmed_flush}, the lake ends at {reached}: what lies between is gone"
    return None


@dataclass(frozen=True, slots=True)
class Witness:
    """Compares what the server sends again with what the lake holds of it: (commit LSN, xid) below ``reached``."""

    source: str
    reached: Lsn
    held: frozenset[tuple[int, int]]

    @classmethod
    def of(cls, source: str, reached: Lsn, transactions: pa.Table) -> Witness:
        pairs = zip(transactions["commit_lsn"].to_pylist(), transactions["xid"].to_pylist(), strict=True)
        return cls(source, reached, frozenset(pairs))

    def check(self, batch: Batch) -> None:
        """Raises SourceReplaced for a transaction that the lake should hold and doesn't."""
        if batch.from_lsn >= self.reached:
            return
        told = batch.transactions
        for lsn, xid in zip(told["commit_lsn"].to_pylist(), told["xid"].to_pylist(), strict=True):
            if lsn < self.reached.value and (lsn, xid) not in self.held:
                raise SourceReplaced(
                    f"transaction {xid} at {Lsn(lsn)} isn't in the lake, which has been past there: the server was "
                    "restored to an earlier state",
                    subject=self.source,
                )
