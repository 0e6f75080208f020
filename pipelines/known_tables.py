"""Which tables the asset graph shows: those that the publication lists and those that the lake holds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

from cdc.errors import RirekiError
from cdc.publication import published_tables
from cdc.relation import TableName
from cdc.source import connect
from lakehouse.lake import Lake
from pipelines.bounded import ask
from pipelines.config import Config, load
from pipelines.errors import ConfigMissing

PATIENCE_S = 2.0  # every Dagster process loads the definitions, and people wait for it


def known_tables(patience_s: float = PATIENCE_S) -> tuple[TableName, ...]:
    """By name, as of now. A source or lake that doesn't answer in time adds nothing, and so does a missing config.

    Raises ConfigUnreadable, ConfigInvalid: a wrong file is to be corrected, not to be worked without.
    """
    try:
        config = load()
    except ConfigMissing:
        return ()
    deadline = time.monotonic() + patience_s
    tables: set[TableName] = set()
    for answer in [ask(lambda: _published(config)), ask(lambda: _held(config))]:
        # Who is away is named by the checks and alerts, with the fix.
        with contextlib.suppress(RirekiError, TimeoutError):
            tables.update(answer.result(max(0.0, deadline - time.monotonic())))
    return tuple(sorted(tables))


def _published(config: Config) -> Iterable[TableName]:
    with connect(config.conninfo()) as connection:
        return published_tables(connection, config.stream.publication_name)


def _held(config: Config) -> Iterable[TableName]:
    return Lake.open(config.lake_root()).tables()
