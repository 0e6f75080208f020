"""``rireki sql``: ask all tables at one cut, or as of any commit of the source."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from lakehouse.lake import AsOf, Lake

from lakehouse.json_values import json_rows
from pipelines.cli.console import ATTENTION, COMMON, DONE, Common, emit, moment, say, table
from pipelines.config import load


def sql(
    query: Annotated[str, Parameter(allow_leading_hyphen=True)], *, at: str | None = None, common: Common = COMMON
) -> int:
    """Ask in SQL. Tables are called schema.table, as in the source.

    There are also changelog."schema.table", rireki.transactions and rireki.cuts. Every answer says how complete it is.
    Exit code 0: complete. 1: a gap touches the answer.

    Parameters
    ----------
    query
        One SELECT, in DuckDB's dialect (close to PostgreSQL's).
    at
        A time of the source's clock ('2026-04-01 09:30:00+09:00'), an LSN, or now; without it, the newest cut.
    """
    answer = Lake.open(load(common.config).lake_root()).sql(query, at=at)
    rows = json_rows(answer.arrow)
    if common.json:
        emit({"columns": answer.columns, "rows": rows, **told(answer.as_of)})
    else:
        table(answer.columns, rows)
        say(verdict(answer.as_of), style="dim" if answer.as_of.complete else "yellow")
    return DONE if answer.as_of.complete else ATTENTION


def told(as_of: AsOf) -> dict[str, Any]:
    """The verdict for programs."""
    return {
        "as_of": {"lsn": as_of.lsn, "source_time": as_of.source_time},
        "complete": as_of.complete,
        "gaps": [
            {
                "table": None if gap.table is None else str(gap.table),
                "from_lsn": gap.from_lsn,
                "to_lsn": gap.to_lsn,
                "reason": gap.reason,
            }
            for gap in as_of.gaps
        ],
    }


def verdict(as_of: AsOf) -> str:
    """The verdict for people: one line, or one a gap."""
    if as_of.complete:
        return f"complete to {as_of.lsn} at {moment(as_of.source_time)}"
    gaps = (
        f"  {gap.table or 'every table'} from {gap.from_lsn} to {gap.to_lsn or 'now'}: {gap.reason}"
        for gap in as_of.gaps
    )
    return "\n".join([f"NOT complete to {as_of.lsn} at {moment(as_of.source_time)}; the lake can't vouch for", *gaps])
