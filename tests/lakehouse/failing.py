"""A lake root whose store fails at one chosen write, before it or just after it: the two ways to lose an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from lakehouse.errors import LakeUnreachable
from lakehouse.root import LakeRoot
from lakehouse.store import Store, Stored


@dataclass
class FailAt:
    """Fails the write number ``number`` (from 0), once. ``writes`` counts those that were tried."""

    number: int
    moment: Literal["before", "after"]
    writes: int = 0
    lock: Lock = field(default_factory=Lock)

    def due(self) -> bool:
        with self.lock:
            self.writes += 1
            return self.writes == self.number + 1


@dataclass(frozen=True)
class FailingRoot(LakeRoot):
    fail: FailAt = field(default_factory=lambda: FailAt(-1, "before"))

    def store(self) -> Store:
        return _FailingStore(super().store(), self.fail)


class _FailingStore:
    def __init__(self, store: Store, fail: FailAt) -> None:
        self._store = store
        self._fail = fail

    def put(self, path: str, body: bytes) -> None:
        due = self._fail.due()
        if due and self._fail.moment == "before":
            raise LakeUnreachable("the connection broke", subject=path)
        self._store.put(path, body)
        if due:
            raise LakeUnreachable("the answer was lost", subject=path)

    def put_if_absent(self, path: str, body: bytes) -> bool:
        due = self._fail.due()
        if due and self._fail.moment == "before":
            raise LakeUnreachable("the connection broke", subject=path)
        ours = self._store.put_if_absent(path, body)
        if due:
            raise LakeUnreachable("the answer was lost", subject=path)
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
