"""How far behind readers are, where a change is waiting, and what the alert rules make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cdc.errors import RirekiError
from cdc.slot import SlotState
from lakehouse.errors import LakeUnreachable
from pipelines.alerts import Finding, Rule
from pipelines.bounded import ask
from pipelines.config import Config
from pipelines.status import Status, status_of

LOOK_EVERY_S = 30
PATIENCE_S = 20.0  # stores are retried for minutes; a look has to end before the next one

LAG = Rule("lag", fires_after=2, resolves_after=2)
SLOT_IDLE = Rule(
    "slot_inactive", fires_after=4, resolves_after=2
)  # a restart or an upgrade takes less than two minutes
SLOT_LOSS = Rule("slot_loss", fires_after=1, resolves_after=2)  # every minute counts
BLIND = Rule("unreachable", fires_after=4, resolves_after=2)
MAINTENANCE = Rule("maintenance", fires_after=2, resolves_after=1)
RULES = (LAG, SLOT_IDLE, SLOT_LOSS, BLIND, MAINTENANCE)

_TABLES_NAMED = 5


def look(config: Config, patience_s: float = PATIENCE_S) -> Status | RirekiError:
    """Both sides as of now, or why the lake can't be read. Ends in time, whatever hangs."""
    try:
        return ask(lambda: status_of(config)).result(patience_s)
    except RirekiError as error:
        return error
    except TimeoutError:
        return LakeUnreachable(f"no answer within {patience_s:g} s", subject=config.lake.url)


def lag_seconds(status: Status) -> float | None:
    """How old the newest answer is while something is waiting to be read; 0 when nothing is.

    None before the first cut. Sources at rest write WAL too: their silence is a cut every ``idle_cut_seconds``.
    """
    source = status.source
    if source is not None and source.slot is not None and source.slot.confirmed_flush >= source.position:
        return 0.0 if status.lake is not None else None
    return status.lag_seconds


def promised_seconds(config: Config) -> float:
    """``alerts.lag_seconds``, but never less than a quiet source's silence can be told apart from lag."""
    return max(config.alerts.lag_seconds, 2 * config.capture.idle_cut_seconds)


def station(status: Status) -> str:
    """Where on its way a change is waiting, in one sentence."""
    if status.source is None:
        return "source: it can't be reached"
    slot = status.source.slot
    if slot is None or slot.wal_status == "lost":
        return "slot: PostgreSQL no longer keeps what the lake lacks"
    if slot.active_pid is None:
        return "capture: nobody follows the slot"
    if status.lake is None:
        return "copy: no cut has been written yet"
    if status.lake.last.held.lsn > status.lake.last.lsn:
        return f"apply: changelogs are durable to {status.lake.last.held.lsn}, current tables stand at a cut before"
    return (
        f"receive or append: the source is at {status.source.position}, the slot is confirmed to {slot.confirmed_flush}"
    )


def slot_trouble(status: Status) -> str | None:
    """Why the slot isn't healthy; None if it is, or can't be seen."""
    if status.source is None:
        return None
    slot, name = status.source.slot, status.config.stream.slot_name
    if slot is None:
        return f"slot {name} doesn't exist"
    if slot.wal_status in ("lost", "unreserved"):
        return f"slot {name} is {'lost' if slot.wal_status == 'lost' else 'about to lose WAL that is still needed'}"
    return f"slot {name} is followed by nobody" if slot.active_pid is None else None


def findings(config: Config, seen: Status | RirekiError) -> list[Finding]:
    """What every rule says of one look, in the order of RULES."""
    if isinstance(seen, RirekiError):
        blind = Finding(BLIND, math.inf, f"the lake of {config.stream.name} can't be read", _told(seen))
        return [_untold(LAG), _untold(SLOT_IDLE), _untold(SLOT_LOSS), blind, _untold(MAINTENANCE)]
    return [_lag(seen), _slot_idle(seen), _slot_loss(seen), _blind(seen), _maintenance(seen)]


def _lag(status: Status) -> Finding:
    lag, promised = lag_seconds(status), promised_seconds(status.config)
    if lag is None:
        return _untold(LAG)
    title = f"{status.config.stream.name} is {lag:.0f} s behind, promised are {promised:g} s"
    return Finding(LAG, lag / promised, title, _body(status, [], "rireki status"))


def _slot_idle(status: Status) -> Finding:
    if status.source is None:
        return _untold(SLOT_IDLE)
    slot = status.source.slot
    idle = slot is not None and slot.active_pid is None
    title = f"nobody captures {status.config.stream.name}"
    why = ["PostgreSQL keeps its WAL until somebody does: its disk fills."]
    return Finding(SLOT_IDLE, _level(idle), title, _body(status, why, "rireki capture"))


def _slot_loss(status: Status) -> Finding:
    if status.source is None:
        return _untold(SLOT_LOSS)
    slot, name = status.source.slot, status.config.stream.slot_name
    if slot is None or slot.wal_status == "lost":
        lost = status.lake is not None or slot is not None  # before the first start there is nothing to lose
        why = ["Changes since the last cut can't be streamed any more; a copy of every table closes the gap."]
        body = _body(status, why, "rireki resync --all --accept-gap --reason 'slot lost'")
        return Finding(SLOT_LOSS, _level(lost), f"slot {name} is lost", body)
    title = f"slot {name} is about to lose WAL that is still needed"
    why = ["It has outgrown max_slot_wal_keep_size: the next checkpoint may take its WAL away."]
    body = _body(status, why, "rireki capture" if slot.active_pid is None else "rireki status")
    return Finding(SLOT_LOSS, _level(slot.wal_status == "unreserved"), title, body)


def _blind(status: Status) -> Finding:
    away = status.problem
    body = "" if away is None else _told(away)
    return Finding(BLIND, _level(away is not None), f"the source of {status.config.stream.name} can't be reached", body)


def _maintenance(status: Status) -> Finding:
    late = status.maintenance_trouble()
    title = f"{status.config.stream.name}: {late or 'maintained'}"
    why = ["What is promised to last is still there; what isn't is not removed, and storage grows."]
    return Finding(MAINTENANCE, _level(late is not None), title, _body(status, why, "rireki maintain"))


def _body(status: Status, why: Sequence[str], command: str) -> str:
    lines = [*why, _queryable(status), _affected(status), f"Where it waits: {station(status)}."]
    if status.source is not None and status.source.slot is not None:
        lines.append(_slot_line(status.source.slot))
    lines.append(f"First: {command} --config {status.config.file.resolve()}")
    return "\n".join(lines)


def _queryable(status: Status) -> str:
    if status.lake is None:
        return "Nothing is queryable yet."
    last = status.lake.last
    behind = "" if status.lag_bytes is None else f", {status.lag_bytes:,} bytes of WAL behind the source"
    return f"Queryable to {last.lsn}, {last.source_time:%Y-%m-%d %H:%M:%S} UTC at the source{behind}."


def _affected(status: Status) -> str:
    names = [str(name) for name in status.tables()]
    more = f" and {len(names) - _TABLES_NAMED} more" if len(names) > _TABLES_NAMED else ""
    return f"Affected: everybody who reads {', '.join(names[:_TABLES_NAMED]) or 'it'}{more} in {status.root.url}."


def _slot_line(slot: SlotState) -> str:
    holder = "nobody" if slot.active_pid is None else f"process {slot.active_pid}"
    room = "no limit is set" if slot.safe_wal_bytes is None else f"{slot.safe_wal_bytes:,} bytes left"
    return f"Slot {slot.name}: {slot.wal_status}, held by {holder}, keeps {slot.retained_bytes:,} bytes of WAL, {room}."


def _told(error: RirekiError) -> str:
    return f"{error}\nUntil it answers, nothing else about this stream can be told.\nFirst: {error.fix}"


def _level(late: bool) -> float:
    return math.inf if late else 0.0


def _untold(rule: Rule) -> Finding:
    return Finding(rule, None, "", "")
