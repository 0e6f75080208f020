"""What DuckDB says against a query, with what the lake has instead and what to do about it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

import duckdb

from lakehouse.errors import QueryRefused

_NO_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "(?P<name>(?:[^"]|"")+)"')
_CANDIDATES = re.compile(r"\n+Candidate bindings: .*")
_NO_FUNCTION = re.compile(r"Function with name \S+ does not exist")
_NEAR = 0.75
_FUNCTIONS = "https://duckdb.org/docs/stable/sql/functions/overview"


def refusal(error: duckdb.Error, columns: Mapping[str, Sequence[str]]) -> QueryRefused:
    """``columns`` are those of each table that the query reads, by the table's name as SQL has it."""
    text = str(error).strip()
    if (missing := _NO_COLUMN.search(text)) is not None:
        near = near_columns(missing["name"].replace('""', '"'), [name for names in columns.values() for name in names])
        told, _, where = _CANDIDATES.sub("", text).partition("\n")
        text = "\n".join([told, *([f"Near it: {', '.join(near)}"] if near else []), where])
        ask = "".join(f"; its columns: rireki sql 'FROM {table} LIMIT 1'" for table in list(columns)[:1])
        return QueryRefused(text, subject="query", fix=f"correct the query{ask}")
    if _NO_FUNCTION.search(text):
        fix = f"correct the query; its functions are DuckDB's: {_FUNCTIONS}"
    elif "No function matches" in text:
        fix = "give the function arguments of types that it takes: CAST(… AS …)"
    else:
        fix = "correct the query"
    return QueryRefused(text, subject="query", fix=fix)


def near_columns(asked: str, columns: Iterable[str]) -> list[str]:
    """At most three, the nearest first: alike as a whole, or in one of the words that underscores part."""
    scores = {column: _alike(asked.lower(), column.lower()) for column in columns}
    return sorted((column for column in scores if scores[column] >= _NEAR), key=lambda column: -scores[column])[:3]


def _alike(one: str, other: str) -> float:
    pairs = [(one, other), *((word, other) for word in one.split("_")), *((one, word) for word in other.split("_"))]
    return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
