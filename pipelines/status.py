"""How far a stream and its lake are: position, lag, slot, and for each table its state and its three places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, LiteralString

from cdc.copy import COPYING
from cdc.errors import SourceError
from cdc.lsn import Lsn
from cdc.publication import published_tables
from cdc.relation import TableName
from cdc.slot import SlotState, read_slot
from cdc.source import connect, explained, rows
from lakehouse.answer import gap_json
from lakehouse.as_of import AsOf, resolve
from lakehouse.cuts import Gap
from lakehouse.errors import LakeEmpty
from lakehouse.events import Event
from lakehouse.maintenance import LastRun
from lakehouse.moment import NewestCut
from lakehouse.root import LakeRoot
from lakehouse.stream_end import StreamEnd
from lakehouse.timeline import Timeline
from pipelines.config import Config
from pipelines.holes import hole_of
from pipelines.maintenance import trouble
from pipelines.recovery import gap_accepted

# Sessions that copy say in their names which part of what they read; see cdc.copy.
_COPYING: LiteralString = """
    SELECT n.nspname::text, c.relname::text, max(told[1]::int), max(told[2]::int)
    FROM pg_stat_activity a,
         LATERAL regexp_match(a.application_name, '^' || %s || ' (\\d+)/(\\d+) (\\d+)$') AS told
    JOIN pg_class c ON c.oid = told[3]::oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE a.datname = current_database()
    GROUP BY 1, 2
"""


class Verdict(StrEnum):
    HEALTHY = "healthy"
    ATTENTION = "attention"  # answers are true, but late or incomplete
    FAILED = "failed"  # the stream can't go on by itself


class TableState(StrEnum):
    STREAMING = "streaming"
    WAITING = "waiting for its copy"
    COPYING = "being copied"
    LEFT = "no longer published"
    UNKNOWN = "in the lake; the source can't be asked"


@dataclass(frozen=True, slots=True)
class CopyStanding:
    """The furthest part of a table that is being read just now."""

    part: int  # counted from 1
    parts: int


@dataclass(frozen=True, slots=True)
class SourceStanding:
    """The source as of now; times are UTC, its own clock."""

    position: Lsn
    time: datetime
    slot: SlotState | None
    published: tuple[TableName, ...]
    copying: Mapping[TableName, CopyStanding]


@dataclass(frozen=True, slots=True)
class LakeStanding:
    """What the lake says of itself. ``last`` is what readers see now; ``gaps`` are all that are on record."""

    first: Event
    last: AsOf
    gaps: tuple[Gap, ...]
    maintained: LastRun | None = None

    @property
    def tables(self) -> Mapping[TableName, int]:
        """Delta version of each current table at the last cut."""
        return self.last.cut.versions


@dataclass(frozen=True, slots=True)
class Status:
    """``source`` None: it can't be reached, ``problem`` says why. ``lake`` None: it holds no cut yet."""

    config: Config
    root: LakeRoot
    source: SourceStanding | None
    problem: SourceError | None
    lake: LakeStanding | None
    hole: SourceError | None = None  # what keeps the slot from carrying on where the lake ends
    hole_accepted: bool = False

    @property
    def lag_bytes(self) -> int | None:
        if self.source is None or self.lake is None:
            return None
        # A cut includes its own position, so the next byte is the first that it lacks.
        return max(0, self.source.position.value - self.lake.last.lsn.value - 1)

    @property
    def lag_seconds(self) -> float | None:
        """Between the newest cut's source time and now: how old an answer is. An idle source's cuts keep it small."""
        if self.lake is None:
            return None
        now = self.source.time if self.source is not None else datetime.now(UTC)
        return round(max(0.0, (now - self.lake.last.source_time).total_seconds()), 3)

    def reasons(self) -> list[tuple[Verdict, str]]:
        """What isn't as it should be, worst first."""
        found: list[tuple[Verdict, str]] = []
        if self.problem is not None:
            found.append((Verdict.FAILED, str(self.problem)))
        if self.source is not None:
            found += self._of_hole() or self._of_slot(self.config.stream.slot_name, self.source.slot)
        if self.lake is None:
            found.append((Verdict.ATTENTION, "the lake holds no cut yet: rireki capture"))
        elif self._unvouched(self.lake):
            found.append((Verdict.ATTENTION, "the lake can't vouch for every position: see gaps"))
            found += [
                (Verdict.ATTENTION, f"{gap.table} is held since {gap.from_lsn}: {gap.reason}")
                for gap in self._unvouched(self.lake)
                if gap.table is not None and gap.to_lsn is None
            ]
        if self.lake is not None and (late := self.maintenance_trouble()):
            found.append((Verdict.ATTENTION, f"{late}: rireki maintain"))
        limit = self.config.alerts.lag_seconds
        if self.lag_seconds is not None and self.lag_seconds > limit:
            found.append((Verdict.ATTENTION, f"{self.lag_seconds:.0f} s behind, promised are {limit:g} s"))
        waiting = [str(name) for name, state in self.tables().items() if state is TableState.WAITING]
        if waiting:
            found.append((Verdict.ATTENTION, f"not copied yet: {', '.join(waiting)}"))
        return sorted(found, key=lambda item: item[0] is not Verdict.FAILED)

    def _of_hole(self) -> list[tuple[Verdict, str]]:
        if self.hole is None:
            return []
        if self.hole_accepted:
            return [(Verdict.ATTENTION, f"{self.hole}; accepted as a gap: rireki capture copies every table again")]
        return [(Verdict.FAILED, f"{self.hole}. Next: {self.hole.fix}")]

    def _open_gaps(self) -> list[Gap]:
        return [] if self.lake is None else [gap for gap in self.lake.last.gaps if gap.to_lsn is None]

    def _unvouched(self, lake: LakeStanding) -> list[Gap]:
        """What touches what readers see now. A table that left the publication has none: it was meant to go."""
        published = set(lake.tables if self.source is None else self.source.published)
        return [gap for gap in lake.last.gaps if gap.table is None or gap.table in published]

    @staticmethod
    def _of_slot(name: str, slot: SlotState | None) -> list[tuple[Verdict, str]]:
        if slot is None:
            return [(Verdict.ATTENTION, f"slot {name} doesn't exist yet: rireki capture")]
        found = []
        if slot.wal_status == "unreserved":
            found.append((Verdict.ATTENTION, f"slot {name} is about to lose WAL: start rireki capture now"))
        if slot.active_pid is None:
            found.append((Verdict.ATTENTION, "nobody captures: rireki capture"))
        return found

    def maintenance_trouble(self) -> str | None:
        """Why what is promised to last may not, or storage grows; None also where nobody has begun with maintenance."""
        within = timedelta(hours=self.config.alerts.maintenance_hours)
        return None if self.lake is None else trouble(self.lake.maintained, datetime.now(UTC), within)

    @property
    def verdict(self) -> Verdict:
        reasons = self.reasons()
        return reasons[0][0] if reasons else Verdict.HEALTHY

    def tables(self) -> dict[TableName, TableState]:
        """Every table that is published or in the lake, by name."""
        held = set() if self.lake is None else set(self.lake.tables)
        if self.source is None:
            return dict.fromkeys(sorted(held), TableState.UNKNOWN)
        listed = set(self.source.published)
        return {
            name: TableState.LEFT
            if name not in listed
            else TableState.COPYING
            if name in self.source.copying
            else TableState.STREAMING
            if name in held
            else TableState.WAITING
            for name in sorted(listed | held)
        }

    def as_object(self) -> dict[str, Any]:
        lake, source = self.lake, self.source
        slot = None if source is None else source.slot
        return {
            "stream": self.config.stream.name,
            "verdict": self.verdict,
            "reasons": [reason for _, reason in self.reasons()],
            "source": None if source is None else {"lsn": source.position, "time": source.time},
            "slot": None
            if slot is None
            else {
                "name": slot.name,
                "active": slot.active_pid is not None,
                "confirmed_lsn": slot.confirmed_flush,
                "wal_status": slot.wal_status,
                "retained_bytes": slot.retained_bytes,
                "safe_wal_bytes": slot.safe_wal_bytes,
            },
            "lake": {
                "url": self.root.url,
                "first_cut": None if lake is None else _point(lake.first.lsn, lake.first.time),
                "last_cut": None if lake is None else _point(lake.last.lsn, lake.last.source_time),
                "maintained_at": None if lake is None or lake.maintained is None else lake.maintained.at,
            },
            "lag_bytes": self.lag_bytes,
            "lag_seconds": self.lag_seconds,
            "tables": {str(name): self._table_object(name, state) for name, state in self.tables().items()},
            "complete": lake is not None and lake.last.complete,
            "gaps": [] if lake is None else [gap_json(gap) for gap in lake.gaps],
        }

    def _table_object(self, name: TableName, state: TableState) -> dict[str, Any]:
        version = None if self.lake is None else self.lake.tables.get(name)
        # Every table of a cut stands at the cut's position; one that isn't in it has none.
        held = self.lake is not None and version is not None
        copy = None if self.source is None else self.source.copying.get(name)
        return {
            "state": state,
            "copy": None if copy is None else {"part": copy.part, "parts": copy.parts},
            "lsn": self.lake.last.lsn if self.lake is not None and held else None,
            "version": version,
            "lag_bytes": self.lag_bytes if held else None,
            "lag_seconds": self.lag_seconds if held else None,
            "held": next((gap.reason for gap in self._open_gaps() if gap.table == name), None),
            "paths": {
                "changelog": self.root.uri("changelog", name),
                "current": self.root.uri("current", name),
                "history": self.root.uri("history", name),
            },
        }


def _point(lsn: Lsn, time: datetime) -> dict[str, Any]:
    return {"lsn": lsn, "source_time": time}


def status_of(config: Config) -> Status:
    """Ask both sides. The source may be away; a lake that can't be read raises LakeError."""
    root = config.lake_root()
    lake = _lake(root)
    try:
        source = _source(config)
        end = StreamEnd.read(root, config.stream.name)
        hole = hole_of(config, end)
    except SourceError as error:
        return Status(config, root, None, error, lake)
    return Status(config, root, source, None, lake, hole, hole is not None and gap_accepted(config, end))


def _lake(root: LakeRoot) -> LakeStanding | None:
    try:
        timeline = Timeline.read(root)
    except LakeEmpty:
        return None
    return LakeStanding(timeline.first, resolve(NewestCut(), timeline), timeline.gaps, LastRun.read(root.store()))


def _source(config: Config) -> SourceStanding:
    dsn = config.conninfo()
    with explained(dsn), connect(dsn) as connection:
        ((position, now),) = rows(connection, "SELECT pg_current_wal_flush_lsn()::text, clock_timestamp()")
        assert isinstance(now, datetime)
        slot = read_slot(connection, config.stream.slot_name)
        published = published_tables(connection, config.stream.publication_name)
        copying = {
            TableName(str(schema), str(table)): CopyStanding(int(str(part)), int(str(parts)))
            for schema, table, part, parts in rows(connection, _COPYING, COPYING)
        }
    return SourceStanding(Lsn.parse(str(position)), now.astimezone(UTC), slot, published, copying)
