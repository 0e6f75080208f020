"""What a published table looks like at one point of the stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table's name as the source has it; prints as ``schema.table``, and ``"a.schema".table`` where a dot would
    mislead."""

    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """The name that prints as ``text``, or that is spelled as in SQL: either part may stand in double quotes.
        Without them the schema ends at the first dot. Raises ValueError for anything else.
        """
        found = _SPELLED.fullmatch(text)
        if found is None:
            raise ValueError(f"a table is called schema.table, got {text!r}")
        return cls(*(part[1:-1].replace('""', '"') if part.startswith('"') else part for part in found.groups()))

    def __str__(self) -> str:
        schema = _quoted(self.schema) if "." in self.schema else _unmistaken(self.schema)
        return f"{schema}.{_unmistaken(self.table)}"


_SPELLED = re.compile(r'("(?:[^"]|"")+"|[^".][^.]*)\.("(?:[^"]|"")+"|[^"].*)', re.DOTALL)


def _unmistaken(name: str) -> str:
    return _quoted(name) if name.startswith('"') else name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
