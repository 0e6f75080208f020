"""Every 30 seconds somebody looks at the stream: to show it on the graph, and to tell people when it falls behind."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from cdc.errors import RirekiError
from pipelines.alerting import look_and_tell
from pipelines.alerts import Ledger
from pipelines.config import load
from pipelines.errors import ConfigMissing
from pipelines.heartbeat import Reported, news
from pipelines.lag import LOOK_EVERY_S, look


@dg.sensor(
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports what capture has done since the last look, and checks whose outcome has changed.",
)
def heartbeat(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    try:
        seen = look(load())
        found = news(seen, Reported.read(context.cursor))
    except RirekiError as error:
        return _skipped(error)
    return dg.SensorResult(skip_reason=found.summary, cursor=found.reported.text(), asset_events=found.events)


@dg.sensor(
    minimum_interval_seconds=LOOK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells `alerts.urls` when readers fall behind, the slot is in danger, or a side can't be reached; "
    "reminds hourly; tells the end. The cursor is the state of every rule.",
)
def lag_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    try:
        config = load()
    except RirekiError as error:
        return _skipped(error)
    told = look_and_tell(config, look(config), Ledger.read(context.cursor), datetime.now(UTC))
    for notice in told.notices:
        context.log.warning(f"{notice.title}\n{notice.body}")
    return dg.SensorResult(skip_reason=told.summary(config), cursor=told.ledger.text())


def _skipped(error: RirekiError) -> dg.SkipReason:
    if isinstance(error, ConfigMissing):
        return dg.SkipReason(f"nothing is configured: {error}. First: {error.fix}")
    raise error  # a failed tick is seen
