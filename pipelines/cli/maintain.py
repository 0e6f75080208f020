"""``rireki maintain``: which versions the promise keeps, and removing what none of them needs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cdc.relation import TableName
from lakehouse.maintenance import Maintained
from pipelines.cli.console import ATTENTION, COMMON, DONE, Common, emit, moment, note, say
from pipelines.cli.console import table as show_table
from pipelines.config import load
from pipelines.errors import CommandInvalid
from pipelines.maintenance import keep_promise


def maintain(
    *tables: str,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    accept_less: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = COMMON,
) -> int:
    """Keep what [retention] promises: thin old versions out, remove files and commits that no kept version needs.

    It writes to no table, so it runs beside the stream, from anywhere. What one run lets go, a run at least an hour
    later removes. Run it every few hours: nothing is removed by itself. Exit code 1: it refused something.

    Parameters
    ----------
    tables
        schema.table, as in the source; none: every table.
    dry_run
        Say what would be done; change nothing.
    accept_less
        Let go what was promised: a shorter [retention] than the lake's own record says, or versions whose files
        somebody else removed.
    """
    config = load(common.config)
    names = [_name(text) for text in tables]
    done: list[Maintained] = []
    for one in keep_promise(config, names, accept_less=accept_less, dry_run=dry_run):
        done.append(one)
        if one.refused is not None and not common.json:
            note(f"✗ {one.refused}\n  next: {one.refused.fix}", style="red")
    refused = any(one.refused for one in done)
    if common.json:
        emit({"dry_run": dry_run, "tables": [one.to_json() for one in done]})
    else:
        _show(done, dry_run=dry_run)
    return ATTENTION if refused else DONE


def _show(done: list[Maintained], *, dry_run: bool) -> None:
    gone = "would go" if dry_run else "removed"
    show_table(
        ["table", "every version since", "single versions", "oldest", "let go", f"objects {gone}", f"bytes {gone}"],
        [
            [
                one.table,
                "the first" if one.whole_from is None else moment(one.whole_from),
                one.singles,
                one.oldest,
                one.let_go,
                len(one.removed.files) + len(one.removed.logged),
                one.removed.bytes,
            ]
            for one in done
        ],
    )
    goes_at = max((one.goes_at for one in done if one.goes_at is not None), default=None)
    if goes_at is not None:
        say(f"what is let go is removed by the next run after {moment(goes_at)}", style="dim")


def _name(text: str) -> TableName:
    try:
        return TableName.parse(text)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki maintain", fix="rireki maintain schema.table") from error
