"""Which versions of a table's ``current`` maintenance has kept, so that nobody starts from one that it removed.

The record is written before anything is removed. Without one, every version is there. It says nothing of files that
somebody else removed: reading those fails, and the reader starts from elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.root import table_path
from lakehouse.store import Store


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """A version, and the newest cut whose state it is."""

    version: int
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class Retained:
    """Every version from ``since`` on, and those in ``kept`` (oldest first) of the ones before."""

    since: int
    kept: tuple[Kept, ...] = ()

    @classmethod
    def read(cls, store: Store, name: TableName) -> Retained:
        body = store.get(_path(name))
        if body is None:
            return cls(0)
        told = json.loads(body)
        return cls(int(told["since"]), tuple(Kept(version, Lsn.parse(lsn)) for version, lsn in told["kept"]))

    def keeps(self, version: int) -> bool:
        return version >= self.since or any(one.version == version for one in self.kept)

    def newest(self, lsn: Lsn) -> Kept | None:
        """The newest of ``kept`` at or before ``lsn``."""
        return max((one for one in self.kept if one.lsn <= lsn), default=None)

    def write(self, store: Store, name: TableName) -> None:
        """Durable when this returns."""
        told = {"since": self.since, "kept": [[one.version, str(one.lsn)] for one in self.kept]}
        store.replace(_path(name), json.dumps(told).encode())


def _path(name: TableName) -> str:
    # Underscored, so that Delta takes neither it nor its folder for data.
    return f"{table_path('current', name)}/_rireki/retained.json"
