"""Checks on the graph, for whoever wants to know now. The sensor ``heartbeat`` reports the cheap ones by itself."""

# No `from __future__ import annotations` here: Dagster reads the type of a check's `context` as it stands.

from collections.abc import Iterator, Sequence

import dagster as dg

from cdc.relation import TableName
from pipelines.asset_keys import STREAM, asset_key
from pipelines.config import load
from pipelines.dagster_errors import as_failure
from pipelines.lag import look
from pipelines.maintenance import keep_promise
from pipelines.reconcile import reconcile
from pipelines.retention_checks import RETENTION, retention_outcomes
from pipelines.row_checks import row_outcome
from pipelines.stream_checks import GAP, LAG, ROWS, SLOT, outcomes


def stream_health(tables: Sequence[TableName]) -> dg.AssetChecksDefinition:
    """What the sensors see, on demand; there before any table is."""

    @dg.multi_asset_check(
        name="stream_health",
        specs=[
            dg.AssetCheckSpec(
                LAG, asset=STREAM, description="Readers see what was committed `alerts.lag_seconds` ago."
            ),
            dg.AssetCheckSpec(SLOT, asset=STREAM, description="The slot is followed, and PostgreSQL keeps its WAL."),
            *(
                dg.AssetCheckSpec(GAP, asset=asset_key("current", name), description="The lake vouches for all of it.")
                for name in tables
            ),
        ],
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with as_failure():
            found = {outcome.key: outcome for outcome in outcomes(look(load()))}
        for key in context.selected_asset_check_keys:
            if key in found:
                yield found[key].result()

    return check


def rows_by_value(tables: Sequence[TableName]) -> dg.AssetChecksDefinition:
    """Reads every row of the tables selected, on both sides."""
    names = {dg.AssetCheckKey(asset_key("current", name), ROWS): name for name in tables}

    @dg.multi_asset_check(
        name="rows_by_value",
        specs=[
            dg.AssetCheckSpec(key.name, asset=key.asset_key, description="Every value, as of one LSN.") for key in names
        ],
        can_subset=True,
        pool="source_read",
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = [names[key] for key in context.selected_asset_check_keys]
        with as_failure():
            found = reconcile(load(), wanted, lambda name: context.log.info(f"comparing {name}"))
        for name, difference in found.tables.items():
            yield row_outcome(name, difference, found.at_lsn).result()

    return check


def promise_kept(tables: Sequence[TableName]) -> dg.AssetChecksDefinition:
    """Looks for every version that is promised; removes nothing."""
    names = {dg.AssetCheckKey(asset_key("current", name), RETENTION): name for name in tables}

    @dg.multi_asset_check(
        name="promise_kept",
        specs=[
            dg.AssetCheckSpec(
                key.name, asset=key.asset_key, description="Every version that [retention] promises is there."
            )
            for key in names
        ],
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = [names[key] for key in context.selected_asset_check_keys]
        with as_failure():
            done = list(keep_promise(load(), wanted, dry_run=True))
        for outcome in retention_outcomes(done):
            yield outcome.result()

    return check
