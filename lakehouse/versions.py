"""Which Delta version of a table's ``current`` stands for which time and position of its source.

Delta's own time travel asks for a version, or for a time of *writing*. What was true at a source time or LSN is in the
version of the newest cut at or before it: this is that map, so that any engine can ask for the exact version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.answer import time_json
from lakehouse.errors import LakeEmpty
from lakehouse.json_values import JsonValue
from lakehouse.log_past import objects_of, states
from lakehouse.opening import open_table, reading
from lakehouse.retained import Kept, Retained
from lakehouse.root import LakeRoot, table_path

_BEGINNING = Lsn(0)


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One version of ``current``: the table's state from the cut ``from_lsn`` to the cut ``to_lsn``, both included.

    Between ``to_lsn`` and the next version's ``from_lsn`` the table changed: there, only the changelog says when.
    Times are UTC: ``from_time`` and ``to_time`` the source's at those cuts, ``written_at`` ours when it was written.
    ``readable`` is False once a file that it needs has been removed.
    """

    version: int
    from_lsn: Lsn
    to_lsn: Lsn
    from_time: datetime
    to_time: datetime
    written_at: datetime
    readable: bool

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "version": self.version,
            "from_lsn": str(self.from_lsn),
            "to_lsn": str(self.to_lsn),
            "from_time": time_json(self.from_time),
            "to_time": time_json(self.to_time),
            "written_at": time_json(self.written_at),
            "readable": self.readable,
        }


def versions_of(root: LakeRoot, name: TableName, last: int | None = None) -> list[TableVersion]:
    """The versions that cuts name and maintenance has kept, oldest first: all, or the ``last`` few.

    Raises LakeEmpty before the first cut.
    """
    retained = Retained.read(root.store(), name)
    told = _told(root, name)
    told = told.filter((told["version"] >= retained.since) | told["version"].is_in([k.version for k in retained.kept]))
    if last is not None:
        told = told.tail(last)
    readable = _readable(root, name, told["version"].to_list())
    return [_version(row, row["version"] in readable) for row in told.iter_rows(named=True)]


def told_versions(root: LakeRoot, name: TableName, since: Lsn) -> list[Kept]:
    """The versions that cuts at or after ``since`` name, oldest first. Raises LakeEmpty before the first cut."""
    rows = map(_version, _told(root, name, since).iter_rows(named=True))
    return [Kept(one.version, one.to_lsn, one.from_time, one.written_at) for one in rows]


def _told(root: LakeRoot, name: TableName, since: Lsn = _BEGINNING) -> pl.DataFrame:
    cuts = open_table(root, root.uri_of("cuts"), "cuts")
    if cuts is None:
        raise LakeEmpty("no cut has been written yet: nothing can be read", subject=root.url)
    with reading("cuts"):
        return (
            pl.scan_delta(cuts)
            .filter(pl.col("cut_lsn") >= since.value)
            .select("cut_lsn", "source_time", "written_at", pl.col("versions").map.get(str(name)).alias("version"))
            .filter(pl.col("version").is_not_null())
            .group_by("version")
            .agg(
                pl.col("cut_lsn").min().alias("from_lsn"),
                pl.col("cut_lsn").max().alias("to_lsn"),
                # A gap told later repeats the last cut: it is the first telling that wrote the version.
                pl.col("source_time").min().alias("from_time"),
                pl.col("source_time").max().alias("to_time"),
                pl.col("written_at").min(),
            )
            .sort("version")
            .collect()
        )


def _version(row: dict[str, datetime | int], readable: bool = True) -> TableVersion:
    times = [value.astimezone(UTC) for value in row.values() if isinstance(value, datetime)]
    version, from_lsn, to_lsn = (value for value in row.values() if isinstance(value, int))
    return TableVersion(version, Lsn(from_lsn), Lsn(to_lsn), times[0], times[1], times[2], readable)


def _readable(root: LakeRoot, name: TableName, versions: list[int]) -> set[int]:
    """Which of these versions (sorted) still have everything that they need."""
    if not versions:
        return set()
    store, table = root.store(), table_path("current", name)
    present, wanted = set(store.names(table)), set(versions)
    return {
        state.version
        for state in states(store, table, str(name), versions[0])
        if state.version in wanted
        and all(path in present for file in state.files.values() for path in objects_of(file))
    }
