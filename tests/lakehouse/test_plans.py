"""A law: wherever a question starts (a version, the history, nothing), the same rows come out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any, get_args

import pyarrow as pa
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cdc.lsn import Lsn
from cdc.relation import Relation, TableName
from lakehouse.history_build import build_history
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.starting_point import Plan
from lakehouse.writer import LakeWriter
from tests.lakehouse.histories import BAG, KEYED, bag_transactions, keyed_transactions
from tests.lakehouse.replay import Row, as_bag, replay
from tests.lakehouse.source import Source

PLANS: tuple[Plan | None, ...] = (None, *get_args(Plan))
COLUMNS = {one.name: [column.name for column in one.columns] for one in (KEYED, BAG)}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(data=st.data())
def test_every_plan_gives_the_rows_that_replaying_gives(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(LakeRoot(folder), data)
        world.copy(KEYED)
        world.copy(BAG)
        world.append()
        world.cut()
        for _ in range(data.draw(st.integers(1, 5), label="steps")):
            match data.draw(st.sampled_from(["change", "change", "change", "copy"])):
                case "change":
                    for _ in range(data.draw(st.integers(1, 3), label="transactions")):
                        world.change()
                case "copy":
                    world.copy(data.draw(st.sampled_from([KEYED, BAG]), label="copied"))
            world.append()
            if data.draw(st.booleans(), label="cut"):
                world.cut()
            if data.draw(st.booleans(), label="build"):
                world.build(data.draw(st.sampled_from([1, 3, 1000]), label="stretch"))
        world.cut()
        world.build(1000)
        world.change()
        world.append()
        world.writer.close()

        lake = Lake.open(world.root)
        for _ in range(3):
            asked = Lsn(data.draw(st.integers(world.cuts[0].value, world.end.value - 1), label="L"))
            note(f"as of {asked}; cuts {world.cuts}")
            as_of = lake.at(asked)
            for relation in (KEYED, BAG):
                expected, names = world.replayed(relation, asked), COLUMNS[relation.name]
                for plan in PLANS:
                    frame = lake.rows(relation.name, as_of, plan).collect().to_arrow()
                    answer = lake.sql(f"FROM {relation.name}", at=as_of, plan=plan).arrow
                    assert as_bag(_rows(frame, names)) == expected, plan
                    assert as_bag(_rows(answer, names)) == expected, plan
                earlier = Lsn(data.draw(st.integers(world.cuts[0].value, asked.value), label="earlier"))
                expected = as_bag(_without_age(world.state(relation, earlier)))
                for intervals in (
                    lake.intervals(relation.name, as_of).collect().to_arrow(),
                    lake.sql(f'FROM history."{relation.name}"', at=as_of).arrow,
                ):
                    assert as_bag(_there_at(earlier, intervals, names)) == expected


class World:
    """A source, its lake, and all that was ever told."""

    def __init__(self, root: LakeRoot, data: st.DataObject) -> None:
        self.root, self._data = root, data
        self.source, self.writer = Source(), LakeWriter.open(root, "main")
        self.cuts: list[Lsn] = []
        self.end = Lsn(0)
        self._ids: dict[int, None] = {}
        self._bag: list[dict[str, Any]] = []
        self._told: dict[TableName, list[pa.Table]] = {KEYED.name: [], BAG.name: []}

    def change(self) -> None:
        self.source.commit(
            *self._data.draw(keyed_transactions(self._ids)), *self._data.draw(bag_transactions(self._bag))
        )

    def copy(self, relation: Relation) -> None:
        """The table as it is; now and then the lake had missed that a row went."""
        rows = [dict(row.values) for row in self.state(relation)]
        if rows and self._data.draw(st.booleans(), label="missed"):
            rows.pop(self._data.draw(st.integers(0, len(rows) - 1)))
        if relation is KEYED:
            self._ids = dict.fromkeys(row["id"] for row in rows)
        else:
            self._bag = [dict(row) for row in rows]
        copy = self.source.copy(relation, rows)
        self.writer.append_copy(copy)
        self._told[relation.name].append(copy.rows)

    def append(self) -> None:
        batch = self.source.batch()
        for changed in batch.tables:
            self._told[changed.relation.name].append(changed.rows)
        self.writer.append(batch)
        self.end, self._now = batch.end_lsn, batch.source_time

    def cut(self) -> None:
        cut = self.writer.advance(self.end.before(), self._now)
        assert cut is not None
        self.cuts.append(cut.cut_lsn)

    def build(self, stretch_rows: int) -> None:
        for relation in (KEYED, BAG):
            build_history(self.root, relation.name, self.cuts[-1], stretch_rows=stretch_rows)

    def replayed(self, relation: Relation, to: Lsn) -> list[Any]:
        return as_bag(self.state(relation, to))

    def state(self, relation: Relation, to: Lsn | None = None) -> list[Row]:
        parts = self._told[relation.name]
        if not parts:
            return []
        rows = pa.concat_tables(parts).sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])
        if to is not None:
            rows = rows.filter(pa.compute.less_equal(rows["_commit_lsn"], to.value))
        return replay(rows, relation.key, COLUMNS[relation.name])


def _there_at(lsn: Lsn, intervals: pa.Table, names: Sequence[str]) -> list[Row]:
    rows = [row for row in intervals.to_pylist() if row["_from_lsn"] <= lsn.value < (row["_to_lsn"] or lsn.value + 1)]
    assert all((row["_to_lsn"] is None) == (row["_valid_to"] is None) for row in rows)
    return [Row({name: row[name] for name in names}, 0) for row in rows]


def _without_age(rows: Sequence[Row]) -> list[Row]:
    return [Row(row.values, 0) for row in rows]


def _rows(table: pa.Table, names: Sequence[str]) -> list[Row]:
    return [Row({name: row[name] for name in names}, row["_valid_from_lsn"]) for row in table.to_pylist()]
