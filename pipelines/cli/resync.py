"""``rireki resync``: ask for tables to be copied again. The wish travels through the source, in commit order."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cdc.relation import TableName
from lakehouse.answer import gap_json
from pipelines.cli.console import COMMON, DONE, Common, emit, note, say
from pipelines.config import Config, load
from pipelines.errors import CommandInvalid
from pipelines.recovery import accept_gap as accepted
from pipelines.resync import request_resync


def resync(
    *tables: str,
    all: Annotated[bool, Parameter(negative="")] = False,
    reason: str = "",
    accept_gap: Annotated[bool, Parameter(negative="", show_default=False)] = False,
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
    accept_gap
        Go on behind a lost slot or a replaced server: what is missing is recorded as a gap, and the next capture makes
        a new slot and copies every table again. Only together with --all.
    """
    if bool(tables) == all:
        raise CommandInvalid("name the tables, or say --all", subject="rireki resync")
    if accept_gap:
        if not all:
            raise CommandInvalid("a gap is every table's: say --all --accept-gap", subject="rireki resync")
        return _accept(load(common.config), reason, as_json=common.json)
    wanted = [table_name(text) for text in tables]
    request = request_resync(load(common.config), wanted, reason=reason)
    if common.json:
        emit({"lsn": request.lsn, "tables": [str(name) for name in request.tables], "reason": reason})
        return DONE
    say(f"asked for at {request.lsn}: {', '.join(map(str, request.tables))}")
    note("a running capture copies them now; otherwise: rireki drain")
    return DONE


def _accept(config: Config, reason: str, *, as_json: bool) -> int:
    gaps = accepted(config, reason=reason)
    if as_json:
        emit({"gaps": [gap_json(gap) for gap in gaps]})
        return DONE
    for gap in gaps:
        say(f"on record: {gap.table or 'every table'} from {gap.from_lsn} on: {gap.reason}")
    note("a supervised capture goes on by itself; otherwise: rireki capture")
    return DONE


def table_name(text: str) -> TableName:
    try:
        return TableName.parse(text)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki resync") from error
