"""A table's columns and key over one stretch of its life, and the schemas that follow from them.

Names are the source's. How a stretch begins and ends, and how the changelog stores it: `lakehouse.generations`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from cdc.batch import TIMESTAMP, changelog_schema
from cdc.relation import TEXT_PREFIX, Relation
from lakehouse.errors import NameCollision

COMMIT_DATE = "_commit_date"  # the changelog's partition: the UTC date of _committed_at
CHANGE_COLUMNS = ("_op", "_commit_lsn", "_ordinal", "_xid", "_committed_at", "_key", "_unchanged", COMMIT_DATE)
VALID_FROM = pa.schema([pa.field("_valid_from_lsn", pa.int64()), pa.field("_valid_from", TIMESTAMP)])
OWN_COLUMNS = frozenset({*CHANGE_COLUMNS, *VALID_FROM.names, "_valid_to", "_valid_to_lsn", "_from_lsn", "_to_lsn"})


@dataclass(frozen=True, slots=True)
class TableColumns:
    """``changes`` is the shape in which changes are folded: source columns, then the change's own (`cdc.batch`)."""

    changes: pa.Schema
    columns: tuple[str, ...]  # in the source's order
    key: tuple[str, ...]

    @classmethod
    def of(cls, relation: Relation) -> TableColumns:
        """Raises NameCollision for a column whose name the lake needs, or that differs from another only by case."""
        names = [column.name for column in relation.columns]
        seen: dict[str, str] = {}
        for name in (column.name for column in relation.columns if not column.is_text):
            if name.casefold() in OWN_COLUMNS or name.casefold().startswith(TEXT_PREFIX):
                raise NameCollision(f"column {name} has a name that the lake uses itself", subject=str(relation.name))
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                raise NameCollision(f"columns {other} and {name} differ only by case", subject=str(relation.name))
        return cls(changelog_schema(relation), tuple(names), relation.key)

    @property
    def properties(self) -> dict[str, str]:
        return {"rireki.key": json.dumps(self.key), "rireki.columns": json.dumps(self.columns)}

    @property
    def source(self) -> pa.Schema:
        return pa.schema([self.changes.field(name) for name in self.columns])

    @property
    def held(self) -> pa.Schema:
        """Every column of the source's that ``changes`` has: those of other stretches, too, where it has them."""
        return pa.schema([field for field in self.changes if field.name not in CHANGE_COLUMNS])

    @property
    def current(self) -> pa.Schema:
        """The schema of the table ``current``."""
        return pa.schema([*self.source, *VALID_FROM])


def key_type(columns: Mapping[str, pa.DataType], key: tuple[str, ...]) -> pa.DataType:
    """The type of ``_key``: the old row's key, all columns for a table without one."""
    return pa.struct([pa.field(name, columns[name]) for name in key or tuple(columns)])
