"""``rireki trace``: one row's whole life, with who and why."""

from __future__ import annotations

from typing import Any

from lakehouse.lake import Lake

from cdc.relation import TableName
from pipelines.cli.console import COMMON, DONE, Common, emit, moment, out, say, shown
from pipelines.config import load
from pipelines.errors import CommandInvalid


def trace(table: str, *key: str, common: Common = COMMON) -> int:
    """Every change of one row, oldest first: values, who, why, which transaction, which file.

    Parameters
    ----------
    table
        schema.table, as in the source.
    key
        The row's key; one value a key column.
    """
    try:
        name = TableName.parse(table)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="rireki trace") from error
    changes = Lake.open(load(common.config).lake_root()).trace(name, list(key))
    if common.json:
        emit({"table": str(name), "key": list(key), "changes": changes})
        return DONE
    return DONE
