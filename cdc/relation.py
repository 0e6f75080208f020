"""What a published table looks like at one point of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table's name as the source has it; prints as ``schema.table``."""

    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Split at the first dot. Raises ValueError without one."""
        schema, dot, table = text.partition(".")
        if not (schema and dot and table):
            raise ValueError(f"a table is called schema.table, got {text!r}")
        return cls(schema, table)

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


class ReplicaIdentity(StrEnum):
    """Which old values the server logs with an update or a delete (``pg_class.relreplident``)."""

    DEFAULT = "d"
    NOTHING = "n"
    FULL = "f"
    INDEX = "i"


@dataclass(frozen=True, slots=True)
class Column:
    """One published column. ``lake_type`` follows docs/types.md and depends on nothing but the source type."""

    name: str
    type_oid: int
    type_modifier: int
    lake_type: pa.DataType
    in_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A published table's columns, in source order."""

    name: TableName
    oid: int
    identity: ReplicaIdentity
    columns: tuple[Column, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the columns that find a row. Empty: the whole row is its own key, and equal rows may repeat."""
        return tuple(column.name for column in self.columns if column.in_key)
