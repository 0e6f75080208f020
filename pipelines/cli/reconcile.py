"""``rireki reconcile``: compare source and lake by value at one LSN."""

from __future__ import annotations

from cdc.relation import TableName
from pipelines.cli.console import ATTENTION, COMMON, DONE, Common, emit, plain, say, table
from pipelines.config import load
from pipelines.errors import CommandInvalid
from pipelines.reconcile import reconcile as compare


def reconcile(*tables: str, common: Common = COMMON) -> int:
    """Compare every published table's rows in source and lake, value by value, at one LSN.

    Exit code 0: no difference. 1: there are mismatches.

    Parameters
    ----------
    tables
        schema.table; without any, all.
    """
    try:
        names = tuple(TableName.parse(text) for text in tables)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki reconcile") from error
    shape = plain(compare(load(common.config), names).as_object())
    mismatches = sum(found["mismatches"] for found in shape["tables"].values())
    if common.json:
        emit(shape)
    else:
        table(
            ["table", "source rows", "lake rows", "mismatches"],
            [[name, t["source_rows"], t["lake_rows"], t["mismatches"]] for name, t in shape["tables"].items()],
        )
        say(f"{mismatches} mismatches at {shape['at_lsn']}", style="red" if mismatches else "green")
    return ATTENTION if mismatches else DONE
