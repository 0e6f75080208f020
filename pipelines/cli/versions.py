"""``rireki versions``: which Delta version of a table stands for which time and position of its source."""

from __future__ import annotations

from cdc.relation import TableName
from lakehouse.lake import Lake
from pipelines.cli.console import COMMON, DONE, Common, emit, moment, note, say
from pipelines.cli.console import table as show_table
from pipelines.config import load
from pipelines.errors import CommandInvalid


def versions(table: str, *, last: int = 20, all: bool = False, common: Common = COMMON) -> int:
    """Map source time, LSN and Delta version of a table, so that any engine can ask with versionAsOf, exactly.

    Delta's own timestampAsOf asks what had been *written* by a time, and engines take that from different clocks.

    Parameters
    ----------
    table
        schema.table, as in the source.
    last
        How many, counted from the newest.
    all
        Every version that a cut names.
    """
    try:
        name = TableName.parse(table)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki versions", fix="rireki versions schema.table") from error
    if last < 1:
        raise CommandInvalid(f"--last must be > 0, got {last}", subject="rireki versions")
    lake = Lake.open(load(common.config).lake_root())
    found = lake.versions(name, None if all else last)
    path = lake.root.uri("current", name)
    if common.json:
        emit({"table": str(name), "path": path, "versions": [version.to_json() for version in found]})
        return DONE
    show_table(
        ["version", "from", "to", "from source time", "to source time", "written at", "readable"],
        [
            [
                one.version,
                str(one.from_lsn),
                str(one.to_lsn),
                moment(one.from_time),
                moment(one.to_time),
                moment(one.written_at),
                "yes" if one.readable else "no: use rireki sql --at",
            ]
            for one in found
        ],
    )
    say(f"{len(found)} versions of {path}", style="dim")
    if not all and len(found) == last:
        note("older ones: --all")
    return DONE
