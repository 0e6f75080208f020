"""What a person may start from the UI."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from cdc.relation import TableName
from pipelines.config import load
from pipelines.reconcile import reconcile
from pipelines.resync import request_resync, wait_for_copies

KEEP_RUNS = timedelta(days=14)


class ResyncConfig(dg.Config):
    """``tables``: schema.table; none means every published one. ``reason`` is kept with the request."""

    tables: list[str] = []
    reason: str


@dg.op(pool="source_read")
def request_copies(context: dg.OpExecutionContext, config: ResyncConfig) -> None:
    """Ask the running capture for copies, and wait until readers see them."""
    request = request_resync(load(), [TableName.parse(name) for name in config.tables], reason=config.reason)
    context.log.info(f"asked for at {request.lsn}: {', '.join(map(str, request.tables))}")
    wait_for_copies(load(), request, on_copied=lambda table: context.log.info(f"{table} is copied and queryable"))


@dg.job(executor_def=dg.in_process_executor)
def resync_table() -> None:
    """Copy tables again without stopping the stream."""
    request_copies()


@dg.op(pool="source_read")
def compare_by_value(context: dg.OpExecutionContext) -> None:
    """Fails when a single row differs."""
    found = reconcile(load(), on_table=lambda table: context.log.info(f"comparing {table}"))
    context.add_output_metadata({str(t): d.mismatches for t, d in found.tables.items()} | {"lsn": str(found.at_lsn)})
    if found.mismatches:
        raise dg.Failure(f"{found.mismatches} mismatches at {found.at_lsn}", allow_retries=False)


@dg.job(name="reconcile", executor_def=dg.in_process_executor)
def reconcile_job() -> None:
    """Compare every table with its source, value by value, at one LSN."""
    compare_by_value()


@dg.op
def delete_old_runs(context: dg.OpExecutionContext) -> None:
    """Dagster keeps runs for ever; two weeks are enough to look back on."""
    old = dg.RunsFilter(
        created_before=datetime.now(UTC) - KEEP_RUNS,
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
    )
    runs = context.instance.get_runs(old, limit=1000)
    for run in runs:
        context.instance.delete_run(run.run_id)
    context.log.info(f"deleted {len(runs)} runs")


@dg.job(executor_def=dg.in_process_executor)
def purge_runs() -> None:
    """Forget runs older than two weeks."""
    delete_old_runs()


purge_daily = dg.ScheduleDefinition(
    job=purge_runs, cron_schedule="15 4 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)
