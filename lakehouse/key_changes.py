"""A key's changes in the changelog: the rows that name it as the new or the old key, and all truncates.

A local changelog is searched file by file (`lakehouse.row_search`); elsewhere, and where the key's types or names don't
allow that, DuckDB is asked. Both find the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from cdc.lsn import Lsn
from cdc.relation import TableName, typed_column
from lakehouse import parquet
from lakehouse.columns import CHANGE_COLUMNS, COMMIT_DATE
from lakehouse.duck import identifier, literal
from lakehouse.errors import UnknownKey
from lakehouse.generation import Generation
from lakehouse.generations import Generations
from lakehouse.json_values import JsonValue, json_rows
from lakehouse.life import Key, Row
from lakehouse.root import LakeRoot
from lakehouse.row_search import Column, RowSearch, Wanted, can_search, kept_search, searching

_TOLD = tuple(name for name in CHANGE_COLUMNS if name != COMMIT_DATE)
_OP: Column = ("_op",)
_TRUNCATE = Wanted.of(_OP, pa.array(["truncate"]))
_SEARCHABLE_FEATURES = frozenset({"timestampNtz"})


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """One version of a changelog, by the key that the table has now: changes from a time when it had columns of other
    names or types for a key aren't found.

    ``files`` are looked through by ``search``; without one, DuckDB is asked.
    """

    cursor: duckdb.DuckDBPyConnection
    name: TableName
    uri: str
    version: int
    generations: Generations
    to: Lsn
    files: tuple[str, ...] = ()
    search: RowSearch | None = None

    @classmethod
    def of(
        cls, root: LakeRoot, cursor: duckdb.DuckDBPyConnection, name: TableName, table: DeltaTable, to: Lsn
    ) -> KeyChanges:
        uri = root.uri("changelog", name)
        generations = Generations.read(pa.schema(table.schema().to_arrow()), table.metadata().configuration)
        asked = cls(cursor, name, uri, table.version(), generations, to)
        if not root.is_local or not set(table.protocol().reader_features or ()) <= _SEARCHABLE_FEATURES:
            return asked
        kinds = {column: generations.stored.field(column).type for column in asked.key}
        # A dot parts a struct's name from its member's, in Parquet's paths.
        dotted = any("." in column or f"_key.{column}" in generations.stored.names for column in kinds)
        if dotted or not all(map(can_search, kinds.values())):
            return asked
        old: dict[Column, pa.DataType] = {("_key", column): kind for column, kind in kinds.items()}
        columns = {(column,): kind for column, kind in kinds.items()} | old | {_OP: pa.string()}
        files = tuple(table.file_uris())
        return replace(asked, files=files, search=kept_search(root, uri, columns, files))

    @property
    def key(self) -> list[str]:
        """The key's columns, as they are stored."""
        return _stored_key(self.generations.newest, self.generations.newest.key)

    def typed(self, key: Sequence[str | None]) -> Key:
        """The key as its columns print it: people spell the same value in several ways. Raises: UnknownKey."""
        try:
            found = self._values(list(key))
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            subject = f"{self.name} {' '.join(filter(None, key))}"
            raise UnknownKey(str(error).splitlines()[0], subject=subject) from error
        return tuple(json_rows(found)[0])

    def rows_of(self, key: Key) -> list[Row]:
        """As `lakehouse.life` wants them, those up to ``to``. Raises: HistoryIncomplete, CorruptCommit."""
        found = self.queried(key) if self.search is None else self._found(self.search, key)
        rows = [dict(zip(found.column_names, row, strict=True)) for row in json_rows(found)]
        return [self._row(row) for row in rows if self._has_key(row)]

    def queried(self, key: Key) -> pa.Table:
        """Three searches rather than one with OR, so that each skips the files and pages that can't hold it."""
        equals = [
            "IS NULL" if value is None else f"= {cast}" for value, cast in zip(key, self._casts(), strict=True)
        ]  # a part is null where its text stands beside it
        pairs = list(zip(self.key, equals, strict=True))
        now = " AND ".join(f"{identifier(name)} {equal}" for name, equal in pairs)
        old = " AND ".join(f"struct_extract(_key, {literal(name)}) {equal}" for name, equal in pairs)
        scan = f"delta_scan({literal(self.uri)}, version => {self.version}, filename => '_file')"
        changes = f"FROM {scan} WHERE _commit_lsn <= {self.to.value}"
        query = " UNION ALL ".join(
            f"{changes} AND {found}" for found in (now, f"_key IS NOT NULL AND {old}", "_op = 'truncate'")
        )
        texts = [text for text in map(_text, key) if text is not None]
        return self.cursor.execute(query, [*texts, *texts]).to_arrow_table()

    def _found(self, search: RowSearch, key: Key) -> pa.Table:
        values = self._values([_text(value) for value in key])
        parts = [(name, column.combine_chunks().drop_null()) for name, column in zip(self.key, values, strict=True)]
        now = [Wanted.of((name,), part) for name, part in parts]
        old = [Wanted.of(("_key", name), part) for name, part in parts]
        with searching(str(self.name)):
            found = [*search.find(self.files, now), *search.find(self.files, old)]
            found += search.find(self.files, [_TRUNCATE], remember=True)  # they are part of every life
        schema = self.generations.stored.append(pa.field("_file", pa.string()))
        rows = pa.concat_tables([schema.empty_table(), *(self._stored(path, rows) for path, rows in found)])
        return rows.filter(pc.field("_commit_lsn") <= self.to.value)

    def _stored(self, path: str, rows: pa.Table) -> pa.Table:
        """As the newest version of the table has them; and in which file they are."""
        return parquet.fit(rows, self.generations.stored).append_column(
            pa.field("_file", pa.string()), pa.array([path] * rows.num_rows, pa.string())
        )

    def _values(self, texts: Sequence[str | None]) -> pa.Table:
        """One row: a key from its texts."""
        return self.cursor.execute(f"SELECT {', '.join(self._casts())}", list(texts)).to_arrow_table()

    def _casts(self) -> list[str]:
        """A parameter for each column of the key, from text to its type."""
        schema = pa.schema([self.generations.stored.field(name) for name in self.key])
        types = map(str, self.cursor.from_arrow(schema.empty_table()).types)
        return ["unhex(substr(?, 3))" if kind == "BLOB" else f"CAST(? AS {kind})" for kind in types]

    def _has_key(self, row: dict[str, JsonValue]) -> bool:
        """Text columns aside: one that has joined the key since then was null before."""
        asked = [name for name in self.generations.newest.key if typed_column(name) == name]
        then = self.generations.at(Lsn(cast(int, row["_commit_lsn"])))
        return row["_op"] == "truncate" or _stored_key(then, asked) == _stored_key(self.generations.newest, asked)

    def _row(self, row: dict[str, JsonValue]) -> Row:
        """By the names that the columns had then."""
        then = self.generations.at(Lsn(cast(int, row["_commit_lsn"])))
        named = dict.fromkeys(self.generations.newest.key) | {name: row[name] for name in _TOLD}
        named |= {column.name: row[column.stored] for column in then.columns}
        if (old := cast("dict[str, JsonValue] | None", row["_key"])) is not None:
            known = {column.name: old[column.stored] for column in then.columns if column.stored in old}
            named["_key"] = dict.fromkeys(self.generations.newest.key) | known
        if (left_out := cast("list[JsonValue] | None", row["_unchanged"])) is not None:
            sources = {column.stored: column.name for column in then.columns}
            named["_unchanged"] = [sources.get(str(name), name) for name in left_out]
        names: list[JsonValue] = [*then.names]
        return named | {"_columns": names, "_file": str(row["_file"]).removeprefix(self.uri).lstrip("/")}


def _stored_key(generation: Generation, key: Sequence[str]) -> list[str]:
    """Where the generation's columns of these names are stored."""
    stored = {column.name: column.stored for column in generation.columns}
    return [stored.get(name, "") for name in key]


def _text(value: JsonValue) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
