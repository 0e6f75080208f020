"""Which columns a table has in the lake, and which changes of the source's columns it can follow.

A column that the source adds is added here, nullable, and rows written before read as null. Everything else would
change the meaning of what is stored, so it is refused: a column that vanishes in mid-stream, a type, a key. A fresh
copy (resync) may leave columns out, for it says every row anew; the lake keeps the column's past.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from cdc.batch import TIMESTAMP, changelog_schema
from cdc.relation import TEXT_PREFIX, Relation, typed_column
from lakehouse.errors import NameCollision, SchemaChangeRefused

COMMIT_DATE = "_commit_date"  # the changelog's partition: the UTC date of _committed_at
CHANGE_COLUMNS = ("_op", "_commit_lsn", "_ordinal", "_xid", "_committed_at", "_key", "_unchanged", COMMIT_DATE)
VALID_FROM = pa.schema([pa.field("_valid_from_lsn", pa.int64()), pa.field("_valid_from", TIMESTAMP)])
OWN_COLUMNS = frozenset({*CHANGE_COLUMNS, *VALID_FROM.names, "_valid_to", "_valid_to_lsn", "_from_lsn", "_to_lsn"})

_OTHER_TYPE_FIX = "add a column of the new type to {table} and drop the old one, or start a new lake with: rireki init"


@dataclass(frozen=True, slots=True)
class TableColumns:
    """A table's source columns and key as the lake has them. ``changes`` is the changelog's schema without its date."""

    changes: pa.Schema
    columns: tuple[str, ...]  # those that the source has now, in its order
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

    @classmethod
    def stored(cls, schema: pa.Schema, properties: Mapping[str, str]) -> TableColumns:
        """As a changelog's schema and properties say."""
        columns = tuple(json.loads(properties["rireki.columns"]))
        changes = pa.schema([field for field in schema if field.name != COMMIT_DATE])
        return cls(changes, columns, tuple(json.loads(properties["rireki.key"])))

    @property
    def properties(self) -> dict[str, str]:
        return {"rireki.key": json.dumps(self.key), "rireki.columns": json.dumps(self.columns)}

    @property
    def source(self) -> pa.Schema:
        """The source's columns, also those that it no longer has."""
        return pa.schema([field for field in self.changes if field.name not in CHANGE_COLUMNS])

    @property
    def current(self) -> pa.Schema:
        """The schema of the table ``current``."""
        return pa.schema([*self.source, *VALID_FROM])

    def followed_by(self, new: TableColumns, table: str, *, copied: bool) -> TableColumns:
        """These columns once the source has ``new``. Raises SchemaChangeRefused unless it only adds columns, or, when
        the whole table is ``copied``, adds and leaves out.
        """
        for name in _sources(self.columns):
            if name not in new.columns and not copied:
                raise SchemaChangeRefused(f"column {name} is no longer published", subject=table)
        if set(_sources(self.key)) != set(_sources(new.key)):
            was, now = (", ".join(_sources(key)) or "none" for key in (self.key, new.key))
            raise SchemaChangeRefused(
                f"the key was ({was}) and is now ({now})",
                subject=table,
                fix=f"ALTER TABLE {table} REPLICA IDENTITY as it was, or start a new lake with: rireki init",
            )
        # A text column stays as long as the column beside which it stands: the stream names it only when it needs it.
        columns = _with_texts(new.columns, self.columns)
        return TableColumns(_merged(self.changes, new.changes, table), columns, _with_texts(self.key, new.key))


def _sources(names: Sequence[str]) -> list[str]:
    """Without the text columns."""
    return [name for name in names if typed_column(name) == name]


def _with_texts(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """``names`` and those text columns of ``others`` that belong to them."""
    return (*names, *(name for name in others if name not in names and name != typed_column(name) in names))


def _merged(stored: Sequence[pa.Field], incoming: Sequence[pa.Field], table: str) -> pa.Schema:
    return pa.schema(_merged_fields(stored, incoming, table, ""))


def _merged_fields(stored: Sequence[pa.Field], incoming: Sequence[pa.Field], table: str, within: str) -> list[pa.Field]:
    fields = {field.name: field for field in stored}
    for field in incoming:
        old = fields.get(field.name)
        if old is None:
            fields[field.name] = field
        elif pa.types.is_struct(old.type) and pa.types.is_struct(field.type):
            # The key of a table without one is all of its columns, so it grows with them.
            kind = pa.struct(_merged_fields(list(old.type), list(field.type), table, f"{field.name}."))
            fields[field.name] = pa.field(field.name, kind)
        elif not _same_type(old.type, field.type):
            raise SchemaChangeRefused(
                f"column {within}{field.name} was {old.type} and is now {field.type}",
                subject=table,
                fix=_OTHER_TYPE_FIX.format(table=table),
            )
    return list(fields.values())


def _same_type(one: pa.DataType, other: pa.DataType) -> bool:
    """Equal but for the name of a list's member, which every library chooses for itself."""
    if pa.types.is_list(one) and pa.types.is_list(other):
        return _same_type(one.value_type, other.value_type)
    return bool(one.equals(other))
