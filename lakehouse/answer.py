"""What a query gets back: rows, and the point and verdict that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from lakehouse.as_of import AsOf
from lakehouse.cuts import Gap
from lakehouse.json_values import JsonValue, json_rows


@dataclass(frozen=True, slots=True)
class Answer:
    """``arrow`` holds the rows; ``as_of`` is judged for the tables that the query read."""

    arrow: pa.Table
    as_of: AsOf

    @property
    def columns(self) -> list[str]:
        return list(self.arrow.column_names)

    def to_json(self) -> dict[str, JsonValue]:
        """``{"columns", "rows", "as_of": {"lsn", "source_time"}, "complete", "gaps"}``, as ``json.dumps`` takes it."""
        rows: list[JsonValue] = list(json_rows(self.arrow))
        columns: list[JsonValue] = list(self.columns)
        return {"columns": columns, "rows": rows, **verdict_json(self.as_of)}


def verdict_json(as_of: AsOf) -> dict[str, JsonValue]:
    """The point and how far to trust it; also under any other answer than SQL's."""
    point: dict[str, JsonValue] = {"lsn": str(as_of.lsn), "source_time": time_json(as_of.source_time)}
    if as_of.assumed_zone is not None:
        point["assumed_zone"] = as_of.assumed_zone
    held: dict[str, JsonValue] = {"lsn": str(as_of.held.lsn), "source_time": time_json(as_of.held.time)}
    gaps: list[JsonValue] = [gap_json(gap) for gap in as_of.gaps]
    return {"as_of": point, "held_to": held, "complete": as_of.complete, "gaps": gaps}


def gap_json(gap: Gap) -> dict[str, JsonValue]:
    return {
        "table": None if gap.table is None else str(gap.table),
        "from_lsn": str(gap.from_lsn),
        "to_lsn": None if gap.to_lsn is None else str(gap.to_lsn),
        "reason": gap.reason,
    }


def time_json(time: datetime) -> str:
    """The same form as a timestamp in a row."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
