"""The asset graph: every station of the flow, for every table. All external: capture makes them, Dagster watches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import dagster as dg

from cdc.relation import TableName
from pipelines.asset_keys import CUTS, STREAM, TRANSACTIONS, asset_key

# Config allows an hour between two cuts of a quiet source; by default ten seconds pass.
_FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(minutes=5), fail_window=timedelta(minutes=65))


def asset_graph(tables: Sequence[TableName]) -> list[dg.AssetSpec]:
    """Never empty: the stream, ``transactions`` and ``cuts`` are there before any table is."""
    return [
        *(_source(name) for name in tables),
        _stream(tables),
        *(_changelog(name) for name in tables),
        *(_current(name) for name in tables),
        *(_history(name) for name in tables),
        _transactions(),
        _cuts(tables),
    ]


def _source(name: TableName) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key("pg", name),
        group_name="source",
        kinds={"postgres"},
        description=f"`{name}` in PostgreSQL, written by the platform. Copied again with the job `resync_table`.",
    )


def _stream(tables: Iterable[TableName]) -> dg.AssetSpec:
    return dg.AssetSpec(
        STREAM,
        deps=[asset_key("pg", name) for name in tables],
        group_name="ingest",
        kinds={"postgres", "arrow"},
        freshness_policy=_FRESH,
        description="The replication slot, followed by `rireki capture` outside of Dagster: whole transactions in "
        "commit order. The sensor `heartbeat` reports an event for each new cut that it sees.",
    )


def _changelog(name: TableName) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key("changelog", name),
        deps=[STREAM],
        group_name="changelog",
        kinds={"deltalake"},
        description=f"Every change of `{name}`, append-only: the truth from which all else can be rebuilt.",
    )


def _current(name: TableName) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key("current", name),
        deps=[asset_key("changelog", name)],
        group_name="current",
        kinds={"deltalake"},
        description=f"`{name}` as its source has it; one Delta version for each cut in which it changed.",
    )


def _history(name: TableName) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key("history", name),
        deps=[asset_key("changelog", name)],
        group_name="history",
        kinds={"deltalake"},
        description=f"What each row of `{name}` was, from which commit to which; built by the job `build_history`.",
    )


def _transactions() -> dg.AssetSpec:
    return dg.AssetSpec(
        TRANSACTIONS,
        deps=[STREAM],
        group_name="ops",
        kinds={"deltalake"},
        description="One row per source commit: who, why, which tables, how many rows.",
    )


def _cuts(tables: Iterable[TableName]) -> dg.AssetSpec:
    return dg.AssetSpec(
        CUTS,
        deps=[TRANSACTIONS, *(asset_key("current", name) for name in tables)],
        group_name="ops",
        kinds={"deltalake"},
        description="Which version of every table belongs to which source position, and what the lake can't vouch for.",
    )
