"""What keeps the lake in order, by the clock: the promise, and the intervals. Neither stops the stream."""

# No `from __future__ import annotations` here: Dagster reads the type of an op's `config` as it stands.
from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from pipelines.asset_keys import asset_key
from pipelines.config import load
from pipelines.dagster_errors import as_failure, tables_named
from pipelines.maintenance import build_histories, keep_promise
from pipelines.retention_checks import retention_outcomes

LAKE_UPKEEP = "lake_upkeep"


class Upkeep(dg.Config):
    """Which tables."""

    tables: list[str] = Field(default=[], description="schema.table, as in the source; none: every table.")


@dg.op(description="Keep what [retention] promises, remove the rest.", pool=LAKE_UPKEEP, out={})
def keep_versions(context: dg.OpExecutionContext, config: Upkeep) -> Iterator[dg.AssetCheckEvaluation]:
    with as_failure():
        done = list(keep_promise(load(), tables_named(config.tables)))
    for outcome in retention_outcomes(done):
        yield outcome.evaluation()
    removed = sum(one.removed.bytes for one in done)
    context.log.info(f"{len(done)} tables looked at, {removed:,} bytes removed")
    with as_failure():
        for one in done:
            if one.refused is not None:
                raise one.refused


@dg.op(description="Bring the intervals to the newest cut.", pool=LAKE_UPKEEP, out={})
def build_intervals(context: dg.OpExecutionContext, config: Upkeep) -> Iterator[dg.AssetMaterialization]:
    with as_failure():
        for built in build_histories(load(), tables_named(config.tables)):
            context.log.info(f"{built.table} is built to {built.to_lsn}")
            yield dg.AssetMaterialization(asset_key("history", built.table), metadata={"lsn": str(built.to_lsn)})


@dg.job(description="Thin old versions out and remove what none of those kept needs. Fails when it refuses something.")
def maintain() -> None:
    keep_versions()


@dg.job(description='Build history."schema.table" of every table, from where it stopped.')
def build_history() -> None:
    build_intervals()


regular_maintenance = dg.ScheduleDefinition(
    name="regular_maintenance",
    job=maintain,
    cron_schedule="37 */4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

nightly_history = dg.ScheduleDefinition(
    name="nightly_history",
    job=build_history,
    cron_schedule="7 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
