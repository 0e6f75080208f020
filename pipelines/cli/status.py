"""``rireki status``: how far the lake is, for each table."""

from __future__ import annotations

from cdc.relation import TableName
from pipelines.cli.console import ATTENTION, COMMON, DONE, FAILED, Common, emit, moment, say, table
from pipelines.config import load
from pipelines.status import Status, TableState, Verdict, status_of

_CODES = {Verdict.HEALTHY: DONE, Verdict.ATTENTION: ATTENTION, Verdict.FAILED: FAILED}
_STYLES = {Verdict.HEALTHY: "green", Verdict.ATTENTION: "yellow", Verdict.FAILED: "red"}


def status(*, common: Common = COMMON) -> int:
    """Position, lag and slot of the stream; state and places of each table.

    Exit code 0: healthy. 1: late or incomplete. 2: the stream can't go on by itself.
    """
    found = status_of(load(common.config))
    if common.json:
        emit(found.as_object())
    else:
        show(found)
    return _CODES[found.verdict]


def _told(found: Status, name: TableName, state: TableState) -> str:
    copy = None if found.source is None else found.source.copying.get(name)
    return state.value if copy is None else f"{state.value}: part {copy.part} of {copy.parts}"


def show(found: Status) -> None:
    if found.lake is not None:
        say(f"queryable  {found.lake.last.lsn} at {moment(found.lake.last.source_time)}")
        say(f"since      {found.lake.first.lsn} at {moment(found.lake.first.time)}")
        behind = "" if found.lag_bytes is None else f", {found.lag_bytes:,} bytes"
        say(f"behind     {found.lag_seconds} s{behind}")
    if found.source is not None and found.source.slot is not None:
        slot = found.source.slot
        held = f"pid {slot.active_pid}" if slot.active_pid is not None else "nobody"
        say(f"slot       {slot.name}: {slot.wal_status}, held by {held}, keeps {slot.retained_bytes:,} bytes of WAL")
    versions = {} if found.lake is None else found.lake.tables
    table(
        ["table", "state", "version", "place"],
        [
            [str(name), _told(found, name, state), versions.get(name), found.root.uri("current", name)]
            for name, state in found.tables().items()
        ],
    )
    for gap in () if found.lake is None else found.lake.gaps:
        say(f"gap        {gap.table or 'every table'} from {gap.from_lsn} to {gap.to_lsn or 'now'}: {gap.reason}")
    for verdict, reason in found.reasons():
        say(reason, style=_STYLES[verdict])
    say(found.verdict.value, style=_STYLES[found.verdict])
