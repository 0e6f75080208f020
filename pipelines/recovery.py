"""The way on behind a hole, once a person has accepted it: the gap on record, a new slot, every table copied again.

``rireki resync --all --accept-gap`` writes the acceptance into the lake: a gap from the lake's end, still open. Capture
finds it at its next start and does the rest, in steps that may be cut off anywhere and are done again:

    1. the server's log passes the lake's end     so that positions keep their one order
    2. a slot that begins behind it
    3. every published table is copied            each says in its changelog that it ends the gap
    4. the stream's position moves to the slot's beginning: from here on there is no hole
    5. the gap's end is told                      the newest of those copies
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from cdc.errors import SlotLost, SourceReplaced
from cdc.lsn import Lsn
from cdc.slot import SlotState, SourceIdentity, drop_slot, ensure_slot, let_log_pass
from cdc.source import address
from lakehouse.cuts import Gap
from lakehouse.errors import LakeEmpty
from lakehouse.stream_end import StreamEnd
from lakehouse.timeline import Timeline
from lakehouse.writer import LakeWriter
from pipelines.config import Config
from pipelines.copies import Copies
from pipelines.errors import NothingLost
from pipelines.holes import look_for_hole

MOST_PASSED_BYTES = 1 << 30  # of WAL written to get past the lake's end; a server further behind gets a new lake


def accept_gap(config: Config, *, reason: str) -> tuple[Gap, ...]:
    """Tell the lake that what is lost is lost. Raises NothingLost where nothing is; SourceReplaced where the server
    is too far behind for its positions ever to follow the lake's."""
    root, stream = config.lake_root(), config.stream.name
    end = StreamEnd.read(root, stream)
    if end.durable_to is None:
        raise NothingLost("it holds nothing of this stream yet", subject=root.url, fix="rireki capture")
    identity, _, hole = look_for_hole(config, end.durable_to, end.source)
    if hole is None:
        raise NothingLost(f"the stream can carry on at {end.durable_to}", subject=root.url)
    _refuse_if_too_far(config, identity, end.durable_to)
    writer = LakeWriter.open(root, stream)
    try:
        told = f"{hole.what}. {reason}" if reason else hole.what
        gaps = gaps_from(writer, end.durable_to.before(), told)
        writer.record_gap(*gaps)
    finally:
        writer.close()
    return gaps


def gaps_from(writer: LakeWriter, after: Lsn, reason: str) -> tuple[Gap, ...]:
    """An open gap: of every table where this stream fills the lake alone, else of each of its tables."""
    if writer.is_alone:
        return (Gap(None, after, None, reason),)
    return tuple(Gap(name, after, None, reason) for name in writer.gap_ends())


def is_accepted(writer: LakeWriter, reached: Lsn) -> bool:
    """Whether the open gap is on record; before the first cut nobody has read anything, so nobody is asked."""
    return writer.cut_at is None or _starts_at(
        reached, (gap for gap in writer.open_gaps() if not _is_hold(writer, gap))
    )


def _is_hold(writer: LakeWriter, gap: Gap) -> bool:
    """A table that waits for a copy tells a gap, too; nobody has accepted that."""
    held = None if gap.table is None else writer.held(gap.table)
    return held is not None and (held.hold.certain_to, held.hold.reason) == (gap.from_lsn, gap.reason)


def gap_accepted(config: Config, end: StreamEnd) -> bool:
    """The same, as any process may ask."""
    try:
        gaps = Timeline.read(config.lake_root()).gaps
    except LakeEmpty:
        return True
    return end.durable_to is None or _starts_at(end.durable_to, (gap for gap in gaps if gap.to_lsn is None))


def _starts_at(reached: Lsn, open_gaps: Iterable[Gap]) -> bool:
    """A gap that somebody accepted begins exactly where the stream ends; they are written together."""
    return any(gap.from_lsn == reached.before() for gap in open_gaps)


def recover(
    config: Config, writer: LakeWriter, copies: Copies, reached: Lsn, identity: SourceIdentity, state: SlotState | None
) -> None:
    """Steps 1 to 4. Raises SourceReplaced, SlotInUse, and what copies raise."""
    dsn, slot = config.conninfo(), config.stream.slot_name
    if state is not None and (state.is_lost or state.confirmed_flush < reached or identity.flushed < reached):
        drop_slot(dsn, slot)
    if identity.flushed < reached:
        _refuse_if_too_far(config, identity, reached)
        let_log_pass(dsn, reached)
    made, _ = ensure_slot(dsn, slot)
    if made.confirmed_flush < reached:
        raise SlotLost(f"it starts at {made.confirmed_flush}, before the lake's {reached}", subject=f"slot {slot}")
    copies.after_gap(made.confirmed_flush.before())
    writer.remember_source(identity.remembered())  # before the position moves: from there on nothing is accepted
    writer.carry_on_at(made.confirmed_flush, datetime.now(UTC))


def end_gaps(writer: LakeWriter, tell: Callable[[Gap], None]) -> None:
    """Step 5: tell the end of every open gap that copies have ended. The stream stands behind it by now."""
    ends = writer.gap_ends()
    for gap in writer.open_gaps():
        within = [end for name, end in ends.items() if gap.table in (None, name) and end is not None]
        end = max(within, default=None)
        if end is not None and end > gap.from_lsn:
            ended = replace(gap, to_lsn=end)
            writer.record_gap(ended)
            tell(ended)


def _refuse_if_too_far(config: Config, identity: SourceIdentity, reached: Lsn) -> None:
    behind = reached.value - identity.flushed.value
    if behind > MOST_PASSED_BYTES:
        raise SourceReplaced(
            f"its log ends at {identity.flushed}, {behind:,} bytes before the lake's end at {reached}: positions would "
            "run twice, and the order of commits is theirs",
            subject=address(config.conninfo()),
            fix="set [lake] url to a new lake (the old one keeps its past), then: rireki capture",
        )
