"""Reading one row's life from the lake: its changes by key from the changelog, who and why from ``transactions``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import duckdb
import pyarrow as pa

from cdc.batch import TRANSACTIONS_SCHEMA
from cdc.lsn import Lsn
from cdc.relation import TableName, typed_column
from lakehouse import parquet
from lakehouse.answer import time_json
from lakehouse.cuts import Gap
from lakehouse.duck import scan
from lakehouse.errors import UnknownKey, UnknownTable
from lakehouse.events import Events
from lakehouse.key_changes import KeyChanges
from lakehouse.life import Between, Change, Who, changes_of
from lakehouse.opening import open_table
from lakehouse.root import LakeRoot
from lakehouse.row_search import Column, Wanted, kept_search, searching
from lakehouse.sql import Engine, Scanned, running
from lakehouse.timeline import Timeline

_COMMIT: Column = ("commit_lsn",)
_SAID = ("actor", "actor_type", "reason", "request_id", "correlation_id")  # in the order of `Who`
_WHO = pa.schema([TRANSACTIONS_SCHEMA.field(name) for name in (*_COMMIT, *_SAID)])


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
    with engine.cursor() as cursor, running("trace"):
        found = KeyChanges.of(root, cursor, name, table, to)
        newest = found.generations.newest
        asked = found.typed(read_key(key, newest.key, str(name)))
        changes = changes_of(asked, newest.key, newest.names, found.rows_of)
        who = _who(root, engine, cursor, changes, timeline.transactions)
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


def _who(
    root: LakeRoot, engine: Engine, cursor: duckdb.DuckDBPyConnection, changes: Sequence[Change], told: Events | None
) -> dict[Lsn, Who]:
    """What the commits say about themselves."""
    commits = sorted({change.lsn.value for change in changes})
    if told is None or not commits:
        return {}
    if root.is_local:
        return dict(_searched_who(root, told, commits))
    uri = root.uri_of("transactions")
    among = ", ".join(map(str, commits))
    query = f"FROM {scan(uri, told.version)} SELECT {', '.join(_WHO.names)} WHERE commit_lsn IN ({among})"
    with engine.attached(Scanned(uri, told.version)):
        return {Lsn(row[0]): Who(*row[1:]) for row in cursor.execute(query).fetchall()}


def _searched_who(root: LakeRoot, told: Events, commits: Sequence[int]) -> Iterator[tuple[Lsn, Who]]:
    uri = root.uri_of("transactions")
    search = kept_search(root, uri, {_COMMIT: pa.int64()}, [f"{uri}/{path}" for path in told.paths])
    wanted = Wanted.of(_COMMIT, pa.array(commits, pa.int64()))
    files = [f"{uri}/{path}" for path in told.holding(commits)]
    with searching("transactions"):
        for _, rows in search.find(files, [wanted]):
            for lsn, *who in zip(*parquet.fit(rows, _WHO).to_pydict().values(), strict=True):
                yield Lsn(lsn), Who(*who)
