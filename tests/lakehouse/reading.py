"""A small lake to read: three users in the first cut, and a source that goes on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from cdc.lsn import Lsn
from cdc.relation import Relation
from lakehouse.cuts import Cut
from lakehouse.generation import Vouched
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.source import USERS, Change, Source


class LiveLake:
    """What capture does, step by step."""

    def __init__(self, root: LakeRoot, *, copy_on_write: bool = False) -> None:
        self.root = root
        self.source = Source()
        self.writer = LakeWriter.open(root, self.source.stream, copy_on_write=[USERS.name] * copy_on_write)
        rows = [{"id": number, "name": f"n{number}", "bio": f"b{number}"} for number in range(3)]
        copy = self.source.copy(USERS, rows)
        self.source_start = copy.snapshot_lsn.value
        self.writer.append_copy(copy)
        self.first_cut = self.cut()

    def commit(
        self,
        *changes: Change,
        at: datetime | None = None,
        actor: str | None = None,
        vouched: Collection[Relation] = (),
    ) -> Lsn:
        """One transaction at the source, durable in the lake."""
        lsn = self.source.commit(*changes, at=at, actor=actor)
        self.append(vouched)
        return lsn

    def append(self, vouched: Collection[Relation] = ()) -> None:
        """Make durable what the source has committed; an idle advance if there is nothing."""
        self.writer.append(self.source.batch(), vouched=Vouched(frozenset(vouched)))

    def cut(self) -> Cut:
        batch = self.source.batch()
        self.writer.append(batch)
        cut = self.writer.advance(batch.end_lsn.before(), batch.source_time)
        assert cut is not None
        return cut

    def read(self) -> Lake:
        return Lake.open(self.root)
