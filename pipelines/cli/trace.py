"""``rireki trace``: one row's whole life, with who and why."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.text import Text

from cdc.relation import TableName
from lakehouse.lake import Lake
from lakehouse.life import Change
from lakehouse.sql import spelled_out
from pipelines.cli.console import COMMON, DONE, Common, emit, note, out, say, shown
from pipelines.config import load
from pipelines.errors import CommandInvalid

_WORDS = {"insert": "made", "update": "changed", "delete": "deleted", "truncate": "emptied", "copy": "found by a copy"}


def trace(table: str, *key: str, common: Common = COMMON) -> int:
    """Every change of one row, oldest first: values, who, why, which transaction, which file.

    Parameters
    ----------
    table
        schema.table, as in the source.
    key
        The row's key; one value for each key column.
    """
    try:
        name = TableName.parse(table)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki trace", fix="rireki trace schema.table KEY") from error
    if not key:
        raise CommandInvalid("which row? its key is missing", subject="rireki trace", fix=f"rireki trace {name} KEY")
    # Several values are one key: the lake takes them as a JSON array.
    wanted = key[0] if len(key) == 1 else json.dumps(key)
    changes = Lake.open(load(common.config).lake_root()).trace(name, wanted)
    if common.json:
        emit({"table": str(name), "key": key, "changes": [change.to_json() for change in changes]})
        return DONE
    for change in changes:
        show(change)
    told = f"{name} {', '.join(key)}"
    if changes:
        say(f"{len(changes)} {'change' if len(changes) == 1 else 'changes'} of {told}", style="dim")
    else:
        say(f"no row ever had this key: {told}", style="yellow")
        note(f"some of its rows: rireki sql 'FROM {spelled_out(name)} LIMIT 3'")
    return DONE


def show(change: Change) -> None:
    who, reason = change.who.actor or "nobody said who", change.who.reason or "nobody said why"
    when = change.committed_at.replace("T", " ")
    if change.between is not None:
        reason = f"nobody can: it was between {change.between.from_lsn} ({change.between.from_time}) and this copy"
    # A copy tells what is there, not who made it so.
    by = "" if change.op == "copy" and change.between is None else f" by {who}: {reason}"
    out.print(Text.assemble((f"{when}  ", "dim"), (_WORDS[change.op], "bold"), by))
    for line in values(change):
        out.print(Text(f"    {line}"))
    transaction = "" if change.xid is None else f" #{change.ordinal}, transaction {change.xid}"
    told = f"    {change.lsn}{transaction}, {change.file}"
    out.print(Text(told, style="dim"))


def values(change: Change) -> Iterator[str]:
    """What the change did to the row, a line for each column: all of a new row, what differs of a changed one."""
    if change.values is None:
        return
    for column in change.changed if change.before is not None else change.values:
        after = shown(change.values[column])
        yield f"{column}: {after}" if change.before is None else f"{column}: {shown(change.before[column])} → {after}"
