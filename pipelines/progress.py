"""What the capture process tells while it runs: one event, one line, for people or for programs.

{"event": "streaming", "stream": …, "from_lsn": …}            connected; follows from there
{"event": "copying", "table": …, "part": …, "parts": …, "rows": …}  so many of its parts are read; nobody sees them yet
{"event": "copied", "table": …, "rows": …, "snapshot_lsn": …}  a table's copy is durable
{"event": "durable", "lsn": …, "transactions": …, "rows": …}   changelogs are durable up to there, and confirmed
{"event": "replaying", "commit_lsn": …, "rows": …}             written so far of a large transaction, not yet visible
{"event": "replayed", "table": …, "rows": …, "carried": …}     a table's changes have left the quarantine
{"event": "cut", "lsn": …, "source_time": …}                   readers see everything up to there
{"event": "gap", "table": …, "from_lsn": …, "to_lsn": …, "reason": …}
{"event": "waiting", "what": …}                                something is away; it is tried again
{"event": "stopped", "lsn": …}                                 clean end; the next start continues there
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, assert_never

from cdc.lsn import Lsn
from cdc.relation import TableName


@dataclass(frozen=True, slots=True)
class Streaming:
    stream: str
    from_lsn: Lsn


@dataclass(frozen=True, slots=True)
class Copying:
    """``rows`` of ``parts_done`` of a table's ``parts`` are written. They become visible as one."""

    table: TableName
    parts_done: int
    parts: int
    rows: int


@dataclass(frozen=True, slots=True)
class Copied:
    table: TableName
    rows: int
    snapshot_lsn: Lsn


@dataclass(frozen=True, slots=True)
class Durable:
    """``lsn`` is where a restart would resume: every transaction before it is durable."""

    lsn: Lsn
    transactions: int
    rows: int


@dataclass(frozen=True, slots=True)
class Replaying:
    """A transaction that is too large for one batch: ``rows`` of it are written so far. It becomes visible as one."""

    commit_lsn: Lsn
    rows: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """``rows`` changes of a table have left the quarantine. ``carried``: its rows go on; otherwise a copy follows."""

    table: TableName
    rows: int
    carried: bool


@dataclass(frozen=True, slots=True)
class CutWritten:
    lsn: Lsn
    source_time: datetime  # UTC


@dataclass(frozen=True, slots=True)
class GapFound:
    table: TableName | None  # None: all
    from_lsn: Lsn
    to_lsn: Lsn | None  # None: still open
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    what: str


@dataclass(frozen=True, slots=True)
class Stopped:
    lsn: Lsn | None  # None: nothing was durable yet


Progress: TypeAlias = (
    Streaming | Copying | Copied | Durable | Replaying | Replayed | CutWritten | GapFound | Waiting | Stopped
)
OnProgress: TypeAlias = Callable[[Progress], None]


def as_object(event: Progress) -> dict[str, Any]:
    """For programs: the shapes above; LSNs and names as text, times as datetime."""
    match event:
        case Streaming(stream, from_lsn):
            return {"event": "streaming", "stream": stream, "from_lsn": str(from_lsn)}
        case Copying(table, done, parts, rows):
            return {"event": "copying", "table": str(table), "part": done, "parts": parts, "rows": rows}
        case Copied(table, rows, snapshot_lsn):
            return {"event": "copied", "table": str(table), "rows": rows, "snapshot_lsn": str(snapshot_lsn)}
        case Durable(lsn, transactions, rows):
            return {"event": "durable", "lsn": str(lsn), "transactions": transactions, "rows": rows}
        case Replaying(commit_lsn, rows):
            return {"event": "replaying", "commit_lsn": str(commit_lsn), "rows": rows}
        case Replayed(table, rows, carried):
            return {"event": "replayed", "table": str(table), "rows": rows, "carried": carried}
        case CutWritten(lsn, source_time):
            return {"event": "cut", "lsn": str(lsn), "source_time": source_time}
        case GapFound(table_or_all, from_lsn, to_lsn, reason):
            return {
                "event": "gap",
                "table": None if table_or_all is None else str(table_or_all),
                "from_lsn": str(from_lsn),
                "to_lsn": None if to_lsn is None else str(to_lsn),
                "reason": reason,
            }
        case Waiting(what):
            return {"event": "waiting", "what": what}
        case Stopped(lsn_or_none):
            return {"event": "stopped", "lsn": None if lsn_or_none is None else str(lsn_or_none)}
        case _:
            assert_never(event)


def as_sentence(event: Progress) -> str:
    """For people: one line."""
    match event:
        case Streaming(stream, from_lsn):
            return f"streaming {stream} from {from_lsn}"
        case Copying(table, done, parts, rows):
            return f"copying {table}: part {done} of {parts}, {rows:,} rows"
        case Copied(table, rows, snapshot_lsn):
            return f"copied {table}: {rows} rows as of {snapshot_lsn}"
        case Durable(lsn, transactions, rows):
            return f"durable to {lsn}: {transactions} transactions, {rows} rows"
        case Replaying(commit_lsn, rows):
            return f"transaction at {commit_lsn}: {rows:,} rows written so far"
        case Replayed(table, rows, carried):
            return f"replayed {table}: {rows} changes{'' if carried else '; a copy follows'}"
        case CutWritten(lsn, source_time):
            return f"queryable to {lsn}, {source_time:%Y-%m-%d %H:%M:%S} UTC at the source"
        case GapFound(table_or_all, from_lsn, to_lsn, reason):
            return f"GAP in {table_or_all or 'every table'} from {from_lsn} to {to_lsn or 'now'}: {reason}"
        case Waiting(what):
            return f"waiting: {what}"
        case Stopped(lsn_or_none):
            return f"stopped at {lsn_or_none or 'the start'}"
        case _:
            assert_never(event)
