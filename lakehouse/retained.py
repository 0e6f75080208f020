"""Which versions of a table's ``current`` maintenance has kept, so that nobody starts from one that it removed.

The record is written before anything is removed, and what it lets go is removed no sooner than ``GRACE`` later: a
reader that has just chosen a version finishes. Without a record, every version is there. It says nothing of files that
somebody else removed: reading those fails, and the reader starts from elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.root import table_path
from lakehouse.store import Store

GRACE: Final = timedelta(hours=1)
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """A version, and the newest cut whose state it is.

    Times are UTC: ``from_time`` the source's at the version's first cut, ``written_at`` ours when that was written.
    """

    version: int
    lsn: Lsn
    from_time: datetime = field(default=_EVER, compare=False)
    written_at: datetime = field(default=_EVER, compare=False)


@dataclass(frozen=True, slots=True)
class Retained:
    """Every version from ``since`` on, and those in ``kept`` (oldest first) of the ones before.

    ``start``: the version ``since`` as it was then; None while every version is kept. ``decided_at``: UTC, our clock.
    """

    since: int
    kept: tuple[Kept, ...] = ()
    start: Kept | None = None
    decided_at: datetime = _EVER

    @classmethod
    def read(cls, store: Store, name: TableName) -> Retained:
        body = store.get(_path(name))
        if body is None:
            return cls(0)
        told = json.loads(body)
        start = told.get("start")
        return cls(
            int(told["since"]),
            tuple(_kept(one) for one in told["kept"]),
            None if start is None else _kept(start),
            datetime.fromisoformat(told["decided_at"]) if "decided_at" in told else _EVER,
        )

    def keeps(self, version: int) -> bool:
        return version >= self.since or any(one.version == version for one in self.kept)

    def newest(self, lsn: Lsn) -> Kept | None:
        """The newest of ``kept`` at or before ``lsn``."""
        return max((one for one in self.kept if one.lsn <= lsn), default=None)

    def write(self, store: Store, name: TableName) -> None:
        """Durable when this returns."""
        told = {
            "since": self.since,
            "kept": [_told(one) for one in self.kept],
            "start": None if self.start is None else _told(self.start),
            "decided_at": self.decided_at.isoformat(),
        }
        store.replace(_path(name), json.dumps(told).encode())


def _told(one: Kept) -> list[int | str]:
    return [one.version, str(one.lsn), one.from_time.isoformat(), one.written_at.isoformat()]


def _kept(told: list[int | str]) -> Kept:
    version, lsn, *times = told
    return Kept(int(version), Lsn.parse(str(lsn)), *(datetime.fromisoformat(str(time)) for time in times))


def _path(name: TableName) -> str:
    # Underscored, so that Delta takes neither it nor its folder for data.
    return f"{table_path('current', name)}/_rireki/retained.json"
