"""Where a table's rows as of one LSN come from, before the changelog's tail: a version, intervals, or nothing.

    version     a version of `current`: every row of it
    history     the intervals that hold as of one LSN
    changelog   no rows: all of them come from the changelog, from the newest copy before the LSN on

Whatever the start, the same tail leads to the same rows; starts differ in how much has to be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.cuts import Cut
from lakehouse.duck import identifier, scan
from lakehouse.errors import HistoryIncomplete
from lakehouse.generation import Generation
from lakehouse.generations import Generations
from lakehouse.history import BUILT_TO, Copied, copies_told
from lakehouse.opening import open_table, reading
from lakehouse.retained import Retained
from lakehouse.root import LakeRoot

Plan: TypeAlias = Literal["version", "history", "changelog"]


@dataclass(frozen=True, slots=True)
class Version:
    """All rows of one version of ``current``: the state at ``lsn``."""

    uri: str
    table: DeltaTable
    lsn: Lsn

    def frame(self) -> pl.LazyFrame:
        return pl.scan_delta(self.table)

    def select(self) -> str:
        """For DuckDB."""
        return f"FROM {scan(self.uri, self.table.version())}"


@dataclass(frozen=True, slots=True)
class Past:
    """The intervals of ``history`` that hold as of ``lsn``, in the shape of ``current``.

    ``copied`` is the newest copy at or before ``lsn``: `current` says of every row that it is valid from there, unless
    it changed later.
    """

    uri: str
    table: DeltaTable
    lsn: Lsn
    generation: Generation  # the table's shape there
    copied: Copied | None

    def frame(self) -> pl.LazyFrame:
        began, ended = pl.col("_from_lsn"), pl.col("_to_lsn")
        named = [pl.col(stored).alias(name) for stored, name in self._source()]
        lsn, time = began, pl.col("_valid_from")
        if self.copied is not None:
            older = began < self.copied.lsn.value
            lsn = pl.when(older).then(self.copied.lsn.value).otherwise(lsn)
            time = pl.when(older).then(pl.lit(self.copied.time).cast(pl.Datetime("us", "UTC"))).otherwise(time)
        return (
            pl.scan_delta(self.table)
            .filter((began <= self.lsn.value) & (ended.is_null() | (ended > self.lsn.value)))
            .select(
                *named,
                lsn.alias("_valid_from_lsn"),
                time.alias("_valid_from"),
            )
        )

    def select(self) -> str:
        """For DuckDB."""
        lsn, time = "_from_lsn", "_valid_from"
        if self.copied is not None:
            older = f"_from_lsn < {self.copied.lsn.value}"
            lsn = f"CASE WHEN {older} THEN {self.copied.lsn.value} ELSE _from_lsn END"
            time = f"CASE WHEN {older} THEN TIMESTAMPTZ '{self.copied.time.isoformat()}' ELSE _valid_from END"
        columns = ", ".join(f"{identifier(stored)} AS {identifier(name)}" for stored, name in self._source())
        return (
            f"FROM {scan(self.uri, self.table.version())} SELECT {columns}, {lsn} AS _valid_from_lsn,"
            f" {time} AS _valid_from WHERE _from_lsn <= {self.lsn.value}"
            f" AND (_to_lsn > {self.lsn.value} OR _to_lsn IS NULL)"
        )

    def _source(self) -> list[tuple[str, str]]:
        held = set(pa.schema(self.table.schema().to_arrow()).names)
        return [(column.stored, column.name) for column in self.generation.columns if column.stored in held]


@dataclass(frozen=True, slots=True)
class Nothing:
    """No rows; the tail after ``lsn`` holds every one."""

    lsn: Lsn


Start: TypeAlias = Version | Past | Nothing


@dataclass(frozen=True, slots=True)
class Starts:
    """One table's possible starts for the state as of ``lsn``; ``changelog`` is opened already.

    ``cut`` may lie behind ``lsn`` where the state stayed as it was: then it has nothing newer.
    """

    root: LakeRoot
    name: TableName
    lsn: Lsn
    cut: Cut
    changelog: DeltaTable
    generations: Generations

    def choose(self, plan: Plan | None = None) -> Start:
        """The nearest start that is still there, or the one that ``plan`` asks for.

        Raises: HistoryIncomplete when the plan asked for can't be followed.
        """
        start: Start | None
        match plan:
            case None:
                start = self._version_at_cut()
                if start is None:
                    others = (self._kept_version(), self.past(), self._newest_copy())
                    start = max((one for one in others if one is not None), key=lambda one: one.lsn)
            case "version":
                start = self._version_at_cut() or self._kept_version()
            case "history":
                start = self.past()
            case "changelog":
                start = self._newest_copy()
            case _:
                assert_never(plan)
        if start is None:
            raise HistoryIncomplete(f"no {plan} to start from at or before {self.lsn}", subject=str(self.name))
        return start

    def past(self) -> Past | None:
        """As far as the history is built; None where there is none."""
        uri = self.root.uri("history", self.name)
        table = open_table(self.root, uri, str(self.name))
        built_to = None if table is None else table.transaction_version(BUILT_TO)
        if table is None or not built_to:
            return None
        copies = copies_told(table.metadata().configuration)
        vouched = Lsn(built_to)
        last_copy = self.changelog.metadata().configuration.get("rireki.lastCopy")
        if last_copy is not None and vouched >= Lsn.parse(last_copy) not in {copy.lsn for copy in copies}:
            vouched = Lsn.parse(last_copy).before()  # it came after the history had been built past it
        unknown = self.generations.unknown_to(table.metadata().configuration)
        at = min(self.lsn, vouched if unknown is None else min(vouched, unknown))
        copied = max((copy for copy in copies if copy.lsn <= at), default=None)
        return Past(uri, table, at, self.generations.at(at), copied)

    def _version_at_cut(self) -> Version | None:
        version = self.cut.versions.get(self.name)
        if version is None or not Retained.read(self.root.store(), self.name).keeps(version):
            return None
        return self._version(version, min(self.generations.shown_at(self.cut.cut_lsn), self.lsn))

    def _kept_version(self) -> Version | None:
        kept = Retained.read(self.root.store(), self.name).newest(self.lsn)
        return None if kept is None else self._version(kept.version, self.generations.shown_at(kept.lsn))

    def _version(self, version: int, lsn: Lsn) -> Version | None:
        uri = self.root.uri("current", self.name)
        table = open_table(self.root, uri, str(self.name), version)
        return None if table is None else Version(uri, table, lsn)

    def _newest_copy(self) -> Nothing:
        """A copy says every row anew."""
        with reading(str(self.name)):
            begun = pl.scan_delta(self.changelog).filter(
                (pl.col("_ordinal") == -1) & (pl.col("_commit_lsn") <= self.lsn.value)
            )
            newest = begun.select(pl.col("_commit_lsn").max()).collect().item()
        return Nothing(Lsn(newest).before() if newest else Lsn(0))
