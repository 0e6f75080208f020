"""Places where a test may end this process, cut it off or keep it waiting: around every write and every confirmation.

    RIREKI_FAILPOINTS="transactions.commit.after=kill@3, current.commit.before=cut"

``kill`` ends the process as ``kill -9`` does, ``cut`` raises what a lost connection raises, ``stall30`` waits thirty
seconds, as for a store that doesn't answer; each at the n-th time (``@n``, the first unless said), once. Read when this
module is imported. In production it is unset: then ``hit`` does nothing, and the lake's store is used as it is.

    changelog.file     changelog.commit      a table's changes, or a copy of it
    transactions.file  transactions.commit   the commit that vouches for all changelogs
    confirm                                  PostgreSQL may forget
    current.file       current.commit        a table's state
    cuts.file          cuts.commit           what readers see

each with ``.before`` and ``.after``.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from cdc.errors import RirekiError, SourceUnreachable
from lakehouse.errors import LakeUnreachable
from lakehouse.root import LakeRoot
from lakehouse.store import Store, Stored

VARIABLE = "RIREKI_FAILPOINTS"
STATIONS = (
    *(f"{table}.{write}" for table in ("changelog", "transactions", "current", "cuts") for write in ("file", "commit")),
    "confirm",
)
POINTS = tuple(f"{station}.{moment}" for station in STATIONS for moment in ("before", "after"))

_ACTION = re.compile(r"\A(kill|cut|stall\d+)\Z")


@dataclass(slots=True)
class _Armed:
    action: str  # kill, cut, or stall and seconds
    left: int


_armed: dict[str, _Armed] = {}
_lock = Lock()


def arm(text: str) -> None:
    """What ``RIREKI_FAILPOINTS`` would say. Raises ValueError for a point or an action that doesn't exist."""
    for item in filter(None, (part.strip() for part in text.split(","))):
        point, _, asked = item.partition("=")
        action, _, count = asked.partition("@")
        if point not in POINTS or not _ACTION.match(action):
            raise ValueError(f"{VARIABLE}: not a failpoint: {item!r}; one looks like confirm.before=kill@2")
        _armed[point] = _Armed(action, int(count or 1))


def hit(point: str) -> None:
    """The process has come to this point."""
    if not _armed:
        return
    with _lock:
        armed = _armed.get(point)
        if armed is None:
            return
        armed.left -= 1
        if armed.left > 0:
            return
        del _armed[point]
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if armed.action.startswith("stall"):
        time.sleep(float(armed.action.removeprefix("stall")))
        return
    broken: type[RirekiError] = SourceUnreachable if point.startswith("confirm") else LakeUnreachable
    raise broken("cut off by a failpoint", subject=point)


def watched(root: LakeRoot) -> LakeRoot:
    """The root, its store passing by the points when any is armed."""
    return _WatchedRoot(root.url, root.options) if _armed else root


class _WatchedRoot(LakeRoot):
    def store(self) -> Store:
        return _WatchedStore(super().store())


class _WatchedStore:
    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, path: str, body: bytes) -> None:
        for _ in _around(f"{path.partition('/')[0]}.file"):
            self._store.put(path, body)

    def replace(self, path: str, body: bytes) -> None:
        self._store.replace(path, body)

    def put_if_absent(self, path: str, body: bytes) -> bool:
        ours = False
        for _ in _around(f"{path.partition('/')[0]}.commit"):
            ours = self._store.put_if_absent(path, body)
        return ours

    def get(self, path: str) -> bytes | None:
        return self._store.get(path)

    def names(self, folder: str, after: str = "") -> list[str]:
        return self._store.names(folder, after)

    def listed(self, folder: str) -> list[Stored]:
        return self._store.listed(folder)

    def folders(self, folder: str) -> list[str]:
        return self._store.folders(folder)

    def remove(self, path: str) -> None:
        self._store.remove(path)


def _around(station: str) -> Iterator[None]:
    hit(f"{station}.before")
    yield
    hit(f"{station}.after")


arm(os.environ.get(VARIABLE, ""))
