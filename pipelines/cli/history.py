"""``rireki history``: what each row was, from which commit to which, as intervals built from the changelog."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cdc.relation import TableName
from lakehouse.history_build import Built
from pipelines.cli.console import COMMON, DONE, Common, emit, note, say
from pipelines.config import load
from pipelines.errors import CommandInvalid
from pipelines.maintenance import build_histories


def history(
    *tables: str,
    rebuild: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = COMMON,
) -> int:
    """Build history."schema.table" up to the newest cut: one row for each state of a row, with its beginning and end.

    It runs beside the stream, goes on where it stopped, and may be deleted: the changelog holds all that it is made of.

    Parameters
    ----------
    tables
        schema.table, as in the source; none: every table of the newest cut.
    rebuild
        Throw away what is there, and build all of it again.
    """
    built = []
    names = [_name(text) for text in tables]
    for one in build_histories(load(common.config), names, rebuild=rebuild, on_table=_say_begun):
        built.append(one)
        if not common.json:
            say(f"{one.table}  {_told(one)}")
    if common.json:
        emit({"history": [_json(one) for one in built]})
    return DONE


def _say_begun(name: TableName) -> None:
    note(f"building history of {name}")


def _told(one: Built) -> str:
    if one.from_lsn == one.to_lsn:
        return f"stood at {one.to_lsn} already"
    return f"from {one.from_lsn or 'the beginning'} to {one.to_lsn}{', built anew' if one.rebuilt else ''}"


def _json(one: Built) -> dict[str, object]:
    return {
        "table": str(one.table),
        "from_lsn": None if one.from_lsn is None else str(one.from_lsn),
        "to_lsn": str(one.to_lsn),
        "rebuilt": one.rebuilt,
    }


def _name(text: str) -> TableName:
    try:
        return TableName.parse(text)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki history", fix="rireki history schema.table") from error
