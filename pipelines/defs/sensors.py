"""Every 30 s: is somebody to be told, and what does the graph show?"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import dagster as dg

from cdc.errors import RirekiError
from pipelines.alerts import advance, from_cursor, readings, to_cursor
from pipelines.config import load
from pipelines.defs.assets import CUTS, STREAM, key
from pipelines.notify import notify
from pipelines.status import Status, status_of

INTERVAL_S = 30


@dg.sensor(minimum_interval_seconds=INTERVAL_S, default_status=dg.DefaultSensorStatus.RUNNING)
def lag_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Measure, tell, then remember: a notice that couldn't be sent is sent at the next tick."""
    try:
        config = load()
        status = status_of(config)
    except RirekiError as error:
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    before = from_cursor(json.loads(context.cursor or "{}"))
    after, messages = advance(before, readings(status), config.stream.name, datetime.now(UTC))
    for message in messages:
        notify(config, message)
    phases = ", ".join(f"{rule} {standing.phase}" for rule, standing in after.items())
    return dg.SensorResult(skip_reason=phases or "nothing to judge yet", cursor=json.dumps(to_cursor(after)))


@dg.sensor(minimum_interval_seconds=INTERVAL_S, default_status=dg.DefaultSensorStatus.RUNNING)
def heartbeat(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Report the stream, the cuts and every table that has a new version to the graph."""
    try:
        status = status_of(load())
    except RirekiError as error:
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    if status.lake is None:
        return dg.SensorResult(skip_reason="the lake holds no cut yet", cursor=context.cursor)
    seen = json.loads(context.cursor or "{}")
    versions = {str(table): version for table, version in status.lake.tables.items()}
    for asset, metadata in _news(status, seen):
        context.instance.report_runless_asset_event(dg.AssetMaterialization(asset, metadata=metadata))
    return dg.SensorResult(skip_reason=f"reported at {status.lake.last.lsn}", cursor=json.dumps(versions))


def _news(status: Status, seen: dict[str, int]) -> list[tuple[dg.AssetKey, dict[str, dg.MetadataValue]]]:
    assert status.lake is not None
    position: dict[str, dg.MetadataValue] = {
        "lsn": dg.MetadataValue.text(str(status.lake.last.lsn)),
        "source_time": dg.MetadataValue.timestamp(status.lake.last.source_time),
    }
    lag: dict[str, dg.MetadataValue] = {}
    if status.lag_seconds is not None:
        lag["lag_seconds"] = dg.MetadataValue.float(status.lag_seconds)
    if status.lag_bytes is not None:
        lag["lag_bytes"] = dg.MetadataValue.int(status.lag_bytes)
    changed = [
        (key("current", table), position | {"delta_version": dg.MetadataValue.int(version)})
        for table, version in status.lake.tables.items()
        if seen.get(str(table)) != version
    ]
    return [(STREAM, position | lag), (CUTS, position), *changed]
