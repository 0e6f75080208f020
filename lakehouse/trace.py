"""Reading one row's life from the lake: its changes by key from the changelog, who and why from ``transactions``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import duckdb
import pyarrow as pa

from cdc.lsn import Lsn
from cdc.relation import TableName, typed_column
from lakehouse.answer import time_json
from lakehouse.columns import CHANGE_COLUMNS
from lakehouse.cuts import Gap
from lakehouse.duck import identifier, literal, scan
from lakehouse.errors import UnknownKey, UnknownTable
from lakehouse.generation import Generation
from lakehouse.generations import Generations
from lakehouse.json_values import JsonValue, json_rows
from lakehouse.life import Between, Change, Key, Row, Who, changes_of
from lakehouse.opening import open_table
from lakehouse.root import LakeRoot
from lakehouse.sql import Engine, Scanned, running
from lakehouse.timeline import Timeline

_WHO = "actor, actor_type, reason, request_id, correlation_id"  # in the order of `Who`


def trace(
    root: LakeRoot, engine: Engine, name: TableName, key: str | Sequence[str], to: Lsn, timeline: Timeline
) -> list[Change]:
    """Every change up to ``to`` of the rows that ever had ``key``; see `lakehouse.life`.

    Read from the changelog alone: `history` has no interval for a row that came and went within one commit. Bounds and
    Bloom filters tell which row groups can't hold the key.

    Raises: UnknownTable, UnknownKey, HistoryIncomplete.
    """
    table = open_table(root, root.uri("changelog", name), str(name))
    if table is None:
        raise UnknownTable("the lake holds no such table", subject=str(name))
    generations = Generations.read(pa.schema(table.schema().to_arrow()), table.metadata().configuration)
    newest = generations.newest
    asked = read_key(key, newest.key, str(name))
    with engine.cursor() as cursor, running("trace"):
        source = _Changelog(cursor, root.uri("changelog", name), table.version(), generations, to)
        changes = changes_of(source.typed(asked, str(name)), newest.key, newest.names, source.rows_of)
        who = _who(root, engine, cursor, changes)
    # A copy's LSN may be some transaction's, but the copy isn't its doing.
    gaps = [gap for gap in timeline.gaps if gap.table in (None, name)]
    return [
        replace(change, between=_between(change, gaps, timeline))
        if change.op == "copy"
        else replace(change, who=who.get(change.lsn, Who()))
        for change in changes
    ]


def _between(change: Change, gaps: Sequence[Gap], timeline: Timeline) -> Between | None:
    """For a row that a copy behind a gap found otherwise than the lake had it."""
    if change.before == change.values:
        return None
    for gap in gaps:
        if gap.to_lsn is not None and gap.from_lsn < change.lsn <= gap.to_lsn:
            known = timeline.event_at(gap.from_lsn)
            return Between(gap.from_lsn, time_json(known.time), change.lsn, change.committed_at)
    return None


def read_key(given: str | Sequence[str], columns: Sequence[str], table: str) -> tuple[str | None, ...]:
    """A key's values as text, in the order of ``columns``. Raises: UnknownKey.

    ``given`` is one text per column, or, as a single text, the value itself or a JSON array or object of the values.
    Text columns (docs/types.md) need not be given; one that is, in an object, stands for its column's value.
    """
    if not columns:
        raise UnknownKey(
            "the table has no key, so its rows can't be told apart",
            subject=table,
            fix=f"rireki sql 'FROM changelog.\"{table}\" WHERE …'",
        )
    texts = (given,) if isinstance(given, str) else tuple(given)
    sources = [name for name in columns if typed_column(name) == name]
    if len(texts) == len(sources) and not (len(texts) == 1 and _names_a_text(texts[0], columns)):
        return _in_order(dict(zip(sources, texts, strict=True)), columns)
    subject = f"{table} {' '.join(texts)}"
    shape = f"its key is ({', '.join(columns)}): write one value for each, or all of them as a JSON array or object"
    try:
        values = json.loads(texts[0]) if len(texts) == 1 else None
    except ValueError as error:
        raise UnknownKey(shape, subject=subject) from error
    if isinstance(values, list) and len(values) == len(sources):
        values = dict(zip(sources, values, strict=True))
    if (
        not isinstance(values, dict)
        or not values.keys() <= set(columns)
        or sorted(map(typed_column, values)) != sorted(sources)
        or any(value is None for value in values.values())
    ):
        raise UnknownKey(shape, subject=subject)
    written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return _in_order(written, columns)


def _in_order(values: Mapping[str, str], columns: Sequence[str]) -> tuple[str | None, ...]:
    """The values in the order of ``columns``; null where a value stands in the column beside."""
    return tuple(values.get(name) for name in columns)


def _names_a_text(given: str, columns: Sequence[str]) -> bool:
    """Whether this is a JSON object that gives a text column, and not the value of a key of one column."""
    return given.startswith("{") and any(f'"{name}"' in given for name in columns if typed_column(name) != name)


@dataclass(frozen=True, slots=True)
class _Changelog:
    """One version of a changelog, by the key that the table has now: changes from a time when it had columns of other
    names or types for a key aren't found.
    """

    cursor: duckdb.DuckDBPyConnection
    uri: str
    version: int
    generations: Generations
    to: Lsn

    @property
    def key(self) -> list[str]:
        """The key's columns, as they are stored."""
        return _stored_key(self.generations.newest, self.generations.newest.key)

    def typed(self, key: Sequence[str | None], table: str) -> Key:
        """The key as its columns print it: people spell the same value in several ways."""
        try:
            found = self.cursor.execute(f"SELECT {', '.join(self._casts())}", list(key)).to_arrow_table()
        except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
            raise UnknownKey(str(error).splitlines()[0], subject=f"{table} {' '.join(filter(None, key))}") from error
        return tuple(json_rows(found)[0])

    def rows_of(self, key: Key) -> list[Row]:
        """Three searches rather than one with OR, so that each skips the files and pages that can't hold it."""
        equals = [
            "IS NULL" if value is None else f"= {cast}" for value, cast in zip(key, self._casts(), strict=True)
        ]  # a part is null where its text stands beside it
        pairs = list(zip(self.key, equals, strict=True))
        now = " AND ".join(f"{identifier(name)} {equal}" for name, equal in pairs)
        old = " AND ".join(f"struct_extract(_key, {literal(name)}) {equal}" for name, equal in pairs)
        changes = f"FROM {self._scan()} WHERE _commit_lsn <= {self.to.value}"
        query = " UNION ALL ".join(
            f"{changes} AND {found}" for found in (now, f"_key IS NOT NULL AND {old}", "_op = 'truncate'")
        )
        texts = [value if isinstance(value, str) else json.dumps(value) for value in key if value is not None]
        found = self.cursor.execute(query, [*texts, *texts]).to_arrow_table()
        rows = [dict(zip(found.column_names, row, strict=True)) for row in json_rows(found)]
        return [self._row(row) for row in rows if self._has_key(row)]

    def _has_key(self, row: dict[str, JsonValue]) -> bool:
        """Text columns aside: one that has joined the key since then was null before."""
        asked = [name for name in self.generations.newest.key if typed_column(name) == name]
        then = self.generations.at(Lsn(cast(int, row["_commit_lsn"])))
        return row["_op"] == "truncate" or _stored_key(then, asked) == _stored_key(self.generations.newest, asked)

    def _row(self, row: dict[str, JsonValue]) -> Row:
        """By the names that the columns had then."""
        then = self.generations.at(Lsn(cast(int, row["_commit_lsn"])))
        named = dict.fromkeys(self.generations.newest.key) | {name: row[name] for name in CHANGE_COLUMNS}
        named |= {column.name: row[column.stored] for column in then.columns}
        if (old := cast("dict[str, JsonValue] | None", row["_key"])) is not None:
            known = {column.name: old[column.stored] for column in then.columns if column.stored in old}
            named["_key"] = dict.fromkeys(self.generations.newest.key) | known
        if (left_out := cast("list[JsonValue] | None", row["_unchanged"])) is not None:
            sources = {column.stored: column.name for column in then.columns}
            named["_unchanged"] = [sources.get(str(name), name) for name in left_out]
        names: list[JsonValue] = [*then.names]
        return named | {"_columns": names, "_file": str(row["_file"]).removeprefix(self.uri).lstrip("/")}

    def _casts(self) -> list[str]:
        described = self.cursor.execute(f"DESCRIBE FROM {self._scan()}").fetchall()
        types = {row[0]: row[1] for row in described}
        return ["unhex(substr(?, 3))" if types[name] == "BLOB" else f"CAST(? AS {types[name]})" for name in self.key]

    def _scan(self) -> str:
        return f"delta_scan({literal(self.uri)}, version => {self.version}, filename => '_file')"


def _stored_key(generation: Generation, key: Sequence[str]) -> list[str]:
    """Where the generation's columns of these names are stored."""
    stored = {column.name: column.stored for column in generation.columns}
    return [stored.get(name, "") for name in key]


def _who(
    root: LakeRoot, engine: Engine, cursor: duckdb.DuckDBPyConnection, changes: Sequence[Change]
) -> dict[Lsn, Who]:
    uri = root.uri_of("transactions")
    table = open_table(root, uri, "transactions")
    if table is None or not changes:
        return {}
    commits = ", ".join(str(lsn.value) for lsn in sorted({change.lsn for change in changes}))
    query = f"FROM {scan(uri, table.version())} SELECT commit_lsn, {_WHO} WHERE commit_lsn IN ({commits})"
    with engine.attached(Scanned(uri, table.version())):
        return {Lsn(row[0]): Who(*row[1:]) for row in cursor.execute(query).fetchall()}
