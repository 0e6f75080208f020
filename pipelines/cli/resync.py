"""``rireki resync``: ask for tables to be copied again. The wish travels through the source, in commit order."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cdc.relation import TableName
from pipelines.cli.console import COMMON, DONE, Common, emit, note, say
from pipelines.config import load
from pipelines.errors import CommandInvalid
from pipelines.resync import request_resync


def resync(
    *tables: str,
    all: Annotated[bool, Parameter(negative="")] = False,
    reason: str = "",
    common: Common = COMMON,
) -> int:
    """Copy tables again without stopping the stream; the running capture picks the wish up where it stands in the log.

    Parameters
    ----------
    tables
        schema.table, as in the source.
    all
        Every published table.
    reason
        Kept with the request.
    """
    if bool(tables) == all:
        raise CommandInvalid("name the tables, or say --all", subject="rireki resync")
    wanted = [_name(text) for text in tables]
    request = request_resync(load(common.config), wanted, reason=reason)
    if common.json:
        emit({"lsn": request.lsn, "tables": [str(name) for name in request.tables], "reason": reason})
        return DONE
    say(f"asked for at {request.lsn}: {', '.join(map(str, request.tables))}")
    note("a running capture copies them now; otherwise: rireki drain")
    return DONE


def _name(text: str) -> TableName:
    try:
        return TableName.parse(text)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki resync") from error
