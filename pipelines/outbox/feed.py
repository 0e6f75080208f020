"""The changelog of an events table, behind a position, as messages in the order of their commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from cdc.relation import TableName
from lakehouse.json_values import json_rows
from lakehouse.lake import Lake
from pipelines.outbox.message import Message, Place

# A copy tells rows and not commits, in no order of events, and tells again what the stream told before it: of a copy
# only events count that the changelog didn't have, in the order of their recording. All are of one LSN, so that places
# are stable.
_QUERY = """
WITH behind AS (
    SELECT *, CASE WHEN _op = 'copy' THEN row_number() OVER (
        PARTITION BY _commit_lsn, _op ORDER BY recorded_at, aggregate_id, aggregate_version
    ) ELSE _ordinal END AS _place
    FROM changelog.{table} AS c
    WHERE _commit_lsn >= {lsn} AND _op IN ('insert', 'copy') AND (_op <> 'copy' OR NOT EXISTS (
        SELECT 1 FROM changelog.{table} AS e
        WHERE e.event_id = c.event_id AND e._commit_lsn < c._commit_lsn AND e._op IN ('insert', 'copy')
    ))
)
SELECT * FROM behind WHERE _commit_lsn > {lsn} OR _place > {place}
ORDER BY _commit_lsn, _place LIMIT {limit}
"""
_END = 2**62  # behind every change of a commit


@dataclass(frozen=True, slots=True)
class Read:
    """``to``: where to go on. ``held_to``: the source time up to which the lake was read."""

    messages: list[Message]
    to: Place
    held_to: datetime
    whole: bool  # nothing is left behind ``to``


@dataclass(frozen=True, slots=True)
class Feed:
    lake: Lake
    table: TableName
    events: Sequence[str]  # patterns: login.*

    def end(self) -> Place:
        """Where the lake ends now. Raises LakeEmpty."""
        return Place(self.lake.at().lsn.value, _END)

    def read(self, after: Place, limit: int) -> Read:
        """Raises LakeEmpty, UnknownTable, LakeUnreachable."""
        name = f'"{self.table}"'
        query = _QUERY.format(table=name, lsn=after.lsn, place=after.place, limit=limit)
        # Up to the newest cut, not to all that is durable: no cut is written before the copies behind it are whole.
        answer = self.lake.sql(query)
        rows: list[dict[str, Any]] = [dict(zip(answer.columns, row, strict=True)) for row in json_rows(answer.arrow)]
        if rows:
            to = Place(int(rows[-1]["_commit_lsn"]), int(rows[-1]["_place"]))
        else:
            to = max(after, Place(answer.as_of.lsn.value, _END))
        messages = [Message.of(row) for row in rows if self._wanted(str(row["event_type"]))]
        return Read(messages, to, answer.as_of.source_time, len(rows) < limit)

    def _wanted(self, event_type: str) -> bool:
        return any(fnmatchcase(event_type, pattern) for pattern in self.events)
