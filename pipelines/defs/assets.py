"""The asset graph: what the source publishes and what the lake holds. All external: the capture process makes them."""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from cdc.errors import RirekiError
from cdc.relation import TableName
from pipelines.config import load
from pipelines.status import status_of

STREAM = dg.AssetKey(["cdc", "stream"])
TRANSACTIONS = dg.AssetKey("transactions")
CUTS = dg.AssetKey("cuts")


def key(kind: str, table: TableName) -> dg.AssetKey:
    return dg.AssetKey([kind, table.schema, table.table])


def known_tables() -> tuple[TableName, ...]:
    """Published or held; none where nothing is configured or nothing answers, so that definitions always load."""
    try:
        return tuple(status_of(load()).tables())
    except RirekiError:
        return ()


def graph(tables: Collection[TableName]) -> list[dg.AssetSpec]:
    sources = [
        dg.AssetSpec(key("pg", t), group_name="source", description=f"Table {t} in PostgreSQL", kinds={"postgres"})
        for t in tables
    ]
    changelogs = [
        dg.AssetSpec(
            key("changelog", t),
            deps=[STREAM],
            group_name="changelog",
            description=f"Every change of {t}, append-only: the truth",
            kinds={"deltalake"},
        )
        for t in tables
    ]
    currents = [
        dg.AssetSpec(
            key("current", t),
            deps=[key("changelog", t)],
            group_name="current",
            description=f"{t} at the newest cut, one Delta version per cut",
            kinds={"deltalake"},
        )
        for t in tables
    ]
    return [
        *sources,
        dg.AssetSpec(
            STREAM,
            deps=[spec.key for spec in sources],
            group_name="ingest",
            description="The slot and the process that reads it; rireki capture",
            kinds={"postgres"},
        ),
        *changelogs,
        dg.AssetSpec(
            TRANSACTIONS,
            deps=[STREAM],
            group_name="changelog",
            description="One row per source commit: who and why",
            kinds={"deltalake"},
        ),
        *currents,
        dg.AssetSpec(
            CUTS,
            deps=[spec.key for spec in currents],
            group_name="ops",
            description="Which table versions belong to which source position, and the gaps",
            kinds={"deltalake"},
        ),
    ]
