"""The code location: ``dg dev``, ``dg check defs`` and ``rireki up`` load it. It loads with nothing configured, too."""

from __future__ import annotations

import dagster as dg

from pipelines.defs.assets import graph, known_tables
from pipelines.defs.checks import stream_health, values_match_source
from pipelines.defs.jobs import purge_daily, purge_runs, reconcile_job, resync_table
from pipelines.defs.sensors import heartbeat, lag_alerts


@dg.definitions
def defs() -> dg.Definitions:
    """Tables are those known when the location loads; "Reload definitions" in the UI looks again."""
    tables = known_tables()
    return dg.Definitions(
        assets=graph(tables),
        asset_checks=[stream_health, *([values_match_source(tables)] if tables else [])],
        jobs=[resync_table, reconcile_job, purge_runs],
        schedules=[purge_daily],
        sensors=[lag_alerts, heartbeat],
        executor=dg.in_process_executor,
    )
