"""Dagster keeps every run for ever; this deletes those that nobody will look at again."""

from __future__ import annotations

from datetime import datetime, timedelta

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

_FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_PAGE = 100


def purge_runs(instance: DagsterInstance, keep: timedelta, now: datetime) -> int:
    """Delete finished runs, and their events, that last changed before ``now - keep`` (UTC); how many."""
    old = RunsFilter(statuses=_FINISHED, updated_before=now - keep)
    deleted = 0
    while records := instance.get_run_records(old, limit=_PAGE):
        for record in records:
            instance.delete_run(record.dagster_run.run_id)
        deleted += len(records)
    return deleted
