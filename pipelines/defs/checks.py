"""Checks on the graph: is the stream healthy, do the tables match their source."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import dagster as dg

from cdc.relation import TableName
from pipelines.alerts import Reading, readings
from pipelines.config import load
from pipelines.defs.assets import STREAM, key
from pipelines.reconcile import reconcile
from pipelines.status import status_of

_RULES = {"lag": "lag_within_slo", "slot-inactive": "slot_held", "slot-wal": "slot_healthy", "source": "source_answers"}


@dg.multi_asset_check(
    name="stream_health", specs=[dg.AssetCheckSpec(name, asset=STREAM) for name in (*_RULES.values(), "no_gap")]
)
def stream_health() -> Iterator[dg.AssetCheckResult]:
    """What the alerts judge, on demand."""
    status = status_of(load())
    found: dict[str, Reading] = {reading.rule: reading for reading in readings(status)}
    for rule, name in _RULES.items():
        reading = found.get(rule)
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=STREAM,
            passed=reading is not None and not reading.breached,
            metadata={"says": reading.text if reading is not None and reading.breached else "as it should be"}
            if reading is not None
            else {"says": "can't be measured: the lake holds no cut, or the source doesn't answer"},
        )
    yield dg.AssetCheckResult(
        check_name="no_gap", asset_key=STREAM, passed=status.lake is not None and status.lake.last.complete
    )


def values_match_source(tables: Collection[TableName]) -> dg.AssetChecksDefinition:
    """Every row of every table, by value, at one LSN."""

    @dg.multi_asset_check(
        name="reconciliation",
        specs=[dg.AssetCheckSpec("values_match_source", asset=key("current", table)) for table in tables],
        pool="source_read",
    )
    def reconciliation() -> Iterator[dg.AssetCheckResult]:
        found = reconcile(load())
        for table, difference in found.tables.items():
            if table in tables:
                yield dg.AssetCheckResult(
                    check_name="values_match_source",
                    asset_key=key("current", table),
                    passed=difference.mismatches == 0,
                    metadata={"rows": difference.source_rows, "mismatches": difference.mismatches},
                )

    return reconciliation
