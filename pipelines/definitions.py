"""Dagster's code location: what ``rireki up``, ``dg dev`` and ``dg check defs`` load. It needs no configuration.

What a definition does is in the plain modules beside this one; a decorator names it and reports what they found.
"""

from __future__ import annotations

import dagster as dg

from pipelines.defs.assets import asset_graph
from pipelines.defs.checks import promise_kept, rows_by_value, stream_health
from pipelines.defs.jobs import nightly_purge, purge_runs, reconcile, resync_table
from pipelines.defs.sensors import heartbeat, lag_alerts
from pipelines.defs.upkeep import build_history, maintain, nightly_history, regular_maintenance
from pipelines.known_tables import known_tables


@dg.definitions
def defs() -> dg.Definitions:
    """The tables are those known now; "Reload definitions" in the UI looks again."""
    tables = known_tables()
    return dg.Definitions(
        assets=asset_graph(tables),
        asset_checks=[stream_health(tables), *([rows_by_value(tables), promise_kept(tables)] if tables else [])],
        jobs=[resync_table, reconcile, maintain, build_history, purge_runs],
        schedules=[nightly_purge, regular_maintenance, nightly_history],
        sensors=[heartbeat, lag_alerts],
        executor=dg.in_process_executor,  # a process for every step would cost seconds and share nothing
    )
