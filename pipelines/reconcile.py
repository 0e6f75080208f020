"""Source and lake compared by value, at one exact LSN: a snapshot of the one, an as-of read of the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from polars import selectors

from cdc.catalogue import Catalogue
from cdc.copy import copy_table, exported_snapshot
from cdc.errors import TableNotPublished
from cdc.lsn import Lsn
from cdc.relation import Relation, TableName, text_column
from cdc.slot import beat
from lakehouse.as_of import AsOf
from lakehouse.errors import BeyondLake, LakeEmpty
from lakehouse.lake import Lake
from pipelines.config import Config

_LAKE_PATIENCE_S = 60.0  # how long the lake may take to reach the snapshot
_LOOK_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Difference:
    """``mismatches``: rows that only one side has; a row that differs is one on each."""

    source_rows: int
    lake_rows: int
    mismatches: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    at_lsn: Lsn
    tables: dict[TableName, Difference]

    @property
    def mismatches(self) -> int:
        return sum(found.mismatches for found in self.tables.values())

    def as_object(self) -> dict[str, Any]:
        tables = {
            str(name): {"source_rows": d.source_rows, "lake_rows": d.lake_rows, "mismatches": d.mismatches}
            for name, d in self.tables.items()
        }
        return {"at_lsn": str(self.at_lsn), "tables": tables}


def reconcile(
    config: Config, names: Collection[TableName] = (), on_table: Callable[[TableName], None] = lambda _: None
) -> Reconciliation:
    """Compare these published tables, or all. A running capture carries the lake to the snapshot's LSN.

    Raises TableNotPublished; BeyondLake when the lake doesn't get there within a minute; what copies raise.
    """
    dsn = config.conninfo()
    catalogue = Catalogue(dsn)
    published = catalogue.published(config.stream.publication_name)
    missing = set(names) - {table.relation.name for table in published}
    if missing:
        raise TableNotPublished("the publication doesn't list it", subject=", ".join(sorted(map(str, missing))))
    wanted = [table for table in published if not names or table.relation.name in names]
    lake = Lake.open(config.lake_root())
    _wait_for(lake, None)  # a snapshot older than the lake's first cut could never be compared
    with exported_snapshot(dsn) as snapshot:
        beat(dsn)  # gives an idle stream something behind the snapshot to pass
        as_of = _wait_for(lake, snapshot.lsn)
        found: dict[TableName, Difference] = {}
        for table in wanted:
            on_table(table.relation.name)
            source = copy_table(dsn, config.stream.name, table, catalogue, snapshot).rows.slice(1)
            found[table.relation.name] = _compare(source, lake, table.relation, as_of)
    return Reconciliation(snapshot.lsn, found)


def _wait_for(lake: Lake, lsn: Lsn | None) -> AsOf:
    deadline = time.monotonic() + _LAKE_PATIENCE_S
    while True:
        try:
            return lake.at(lsn)
        except (BeyondLake, LakeEmpty):
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(_LOOK_AGAIN_S)


def _compare(source: pa.Table, lake: Lake, relation: Relation, as_of: AsOf) -> Difference:
    rows = lake.rows(relation.name, as_of)
    in_lake = rows.collect_schema().names()
    columns = [column.name for column in relation.columns]
    # Either side may never have needed a text column that the other has.
    texts = {text_column(name) for name in columns} & {*source.column_names, *in_lake}
    # By a selector: Polars takes a bare name like "*" or "^id$" for a pattern.
    held = rows.select(selectors.by_name(*columns, *(texts & {*in_lake}))).collect().to_arrow()
    with duckdb.connect() as connection:
        for name, one in (("source", source), ("held", held)):
            for text in texts - {*one.column_names}:
                one = one.append_column(text, pa.nulls(one.num_rows, pa.string()))
            connection.register(name, one.select([*columns, *sorted(texts)]))
        mismatches = sum(
            _count(connection, f"(FROM {one} EXCEPT ALL FROM {other})")
            for one, other in (("source", "held"), ("held", "source"))
        )
    return Difference(source.num_rows, held.num_rows, mismatches)


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()  # noqa: S608 (our own text)
    return int(found[0]) if found else 0
