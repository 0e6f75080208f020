"""``rireki sql``: ask all tables at one cut, or as of any commit of the source."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lakehouse.as_of import AsOf
from lakehouse.json_values import json_rows
from lakehouse.lake import Lake
from lakehouse.moment import Freshness, read_zone
from pipelines.cli.console import ATTENTION, COMMON, DONE, Common, emit, moment, say, table
from pipelines.config import load


def sql(
    query: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    at: str | None = None,
    zone: str = "UTC",
    freshness: Freshness = "cut",
    common: Common = COMMON,
) -> int:
    """Ask in SQL. Tables are called schema.table, as in the source.

    There are also changelog."schema.table", rireki.transactions and rireki.cuts. Every answer says how complete it is.
    Exit code 0: complete. 1: a gap touches the answer.

    Parameters
    ----------
    query
        One SELECT, in DuckDB's dialect (close to PostgreSQL's).
    at
        A time of the source's clock ('2026-04-01 09:30:00+09:00'), a date (its start), an LSN, or now.
    zone
        The zone of a time or date that states none, such as Asia/Tokyo.
    freshness
        Without --at: the newest cut, or the changelog, which has what no cut holds yet.
    """
    lake = Lake.open(load(common.config).lake_root())
    answer = lake.sql(query, at=at, zone=read_zone(zone), freshness=freshness)
    if common.json:
        emit(answer.to_json())
    else:
        table(answer.columns, json_rows(answer.arrow), records_if_wide=True)
        say(verdict(answer.as_of), style="dim" if answer.as_of.complete else "yellow")
    return DONE if answer.as_of.complete else ATTENTION


def verdict(as_of: AsOf) -> str:
    """The verdict for people: one line, and one more for each gap."""
    point = f"complete to {as_of.lsn} at {moment(as_of.source_time)}"
    if as_of.assumed_zone is not None:
        point += f" (the time asked for was read as {as_of.assumed_zone})"
    if as_of.complete:
        return point
    gaps = (
        f"  {gap.table or 'every table'} from {gap.from_lsn} to {gap.to_lsn or 'now'}: {gap.reason}"
        for gap in as_of.gaps
    )
    return "\n".join([f"NOT {point}; the lake can't vouch for", *gaps])
