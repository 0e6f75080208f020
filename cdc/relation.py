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


TEXT_PREFIX = "_text_"


def text_column(name: str) -> str:
    """The column that capture puts beside ``name`` once a value came which its lake type can't hold: docs/types.md."""
    return TEXT_PREFIX + name


def typed_column(name: str) -> str:
    """The source's column that ``name`` belongs to: itself, or the one whose text it holds."""
    return name.removeprefix(TEXT_PREFIX)


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
    is_text: bool = False  # made by capture for another column: see text_column


@dataclass(frozen=True, slots=True)
class Relation:
    """A published table's columns, in source order; behind them the text columns that it has come to need."""

    name: TableName
    oid: int
    identity: ReplicaIdentity
    columns: tuple[Column, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the columns that find a row. Empty: the whole row is its own key, and equal rows may repeat."""
        return tuple(column.name for column in self.columns if column.in_key)
