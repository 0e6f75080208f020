"""What a person may ask for from the UI. Nothing else runs in Dagster: the stream is a process of its own."""

# No `from __future__ import annotations` here: Dagster reads the type of an op's `config` as it stands.
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum

import dagster as dg
from pydantic import Field

from pipelines import run_retention
from pipelines.config import load
from pipelines.dagster_errors import as_failure, tables_named
from pipelines.reconcile import reconcile as compare
from pipelines.resync import request_resync, wait_for_copies
from pipelines.row_checks import mismatch, row_outcome

SOURCE_READ = "source_read"


class Mode(Enum):
    WAIT = "wait"
    ASK = "ask"


class Resync(dg.Config):
    """What to copy again, and why."""

    tables: list[str] = Field(description="schema.table, as in the source; an empty list: every published one.")
    reason: str = Field(description="Kept with the request.", min_length=1)
    mode: Mode = Field(default=Mode.WAIT, description="wait: until readers see the copies. ask: leave it to capture.")
    within_seconds: float = Field(default=3600, gt=0, description="How long to wait; a large table takes its time.")


class Comparison(dg.Config):
    """What to compare."""

    tables: list[str] = Field(default=[], description="schema.table, as in the source; none: every published one.")


class Retention(dg.Config):
    """What to forget."""

    older_than_days: float = Field(default=30, gt=0, description="Counted from a finished run's last change.")


@dg.op(description="Ask for copies in the source's own log; the running capture makes them without stopping.")
def request_copies(context: dg.OpExecutionContext, config: Resync) -> None:
    with as_failure():
        settings = load()
        request = request_resync(settings, tables_named(config.tables), reason=config.reason)
        context.log.info(f"asked for at {request.lsn}: {', '.join(map(str, request.tables))}")
        if config.mode is Mode.WAIT:
            wait_for_copies(
                settings,
                request,
                on_copied=lambda name: context.log.info(f"{name} is copied, and readers see it"),
                within_s=config.within_seconds,
            )


@dg.op(description="Compare source and lake value by value, as of one LSN.", pool=SOURCE_READ, out={})
def compare_rows(context: dg.OpExecutionContext, config: Comparison) -> Iterator[dg.AssetCheckEvaluation]:
    with as_failure():
        found = compare(load(), tables_named(config.tables), lambda name: context.log.info(f"comparing {name}"))
        for name, difference in found.tables.items():
            yield row_outcome(name, difference, found.at_lsn).evaluation()
        if found.mismatches:
            raise mismatch(found)
    context.log.info(f"no mismatch in {len(found.tables)} tables at {found.at_lsn}")


@dg.op(description="Delete finished runs that nobody will look at again.")
def delete_old_runs(context: dg.OpExecutionContext, config: Retention) -> None:
    deleted = run_retention.purge_runs(context.instance, timedelta(days=config.older_than_days), datetime.now(UTC))
    context.log.info(f"deleted {deleted} runs")


@dg.job(description="Copy tables again while the stream goes on. Launchpad: tables, reason, mode.")
def resync_table() -> None:
    request_copies()


@dg.job(description="Fails if any row of the lake differs from its source.")
def reconcile() -> None:
    compare_rows()


@dg.job(description="Dagster itself never forgets a run.")
def purge_runs() -> None:
    delete_old_runs()


nightly_purge = dg.ScheduleDefinition(
    name="nightly_purge",
    job=purge_runs,
    cron_schedule="17 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
