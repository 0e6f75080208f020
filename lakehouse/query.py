"""What a query reads, asked of DuckDB's own parser before anything runs.

One SELECT (WITH, FROM …, VALUES, DESCRIBE, SUMMARIZE belong to it) over tables of the lake passes. Everything that
writes, changes settings or reads files is refused here, by what it is rather than by name: statements other than
SELECT, and table functions that aren't known to be harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from lakehouse.errors import QueryRefused

# Table functions that read their arguments only. The rest opens files, runs SQL from text or shows the engine.
_HARMLESS = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"})


@dataclass(frozen=True, slots=True, order=True)
class TableReference:
    """A table as the query spells it; ``schema`` is empty where it is left out."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else self.table


def referenced_tables(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[TableReference, ...]:
    """The tables that ``query`` names, sorted, each once; names that WITH defines are left out.

    Raises: QueryRefused.
    """
    row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error"):
        raise QueryRefused(_refusal(tree), subject=_first_line(query))
    if len(tree["statements"]) != 1:
        raise QueryRefused("exactly one statement is answered at a time", subject=_first_line(query))
    nodes = list(_nodes(tree))
    for node in nodes:
        if node.get("type") == "TABLE_FUNCTION" and node["function"]["function_name"].lower() not in _HARMLESS:
            name = node["function"]["function_name"]
            raise QueryRefused(f"{name}() may read more than this lake", subject=_first_line(query))
        if node.get("type") == "SHOW_REF" and node["query"] is None:
            raise QueryRefused(
                "SHOW lists nothing here: views are made for the tables that a query names",
                subject=_first_line(query),
                fix="rireki status lists the tables of the lake",
            )
    with_names = {entry["key"].lower() for node in nodes for entry in node.get("cte_map", {}).get("map", ())}
    found = {
        TableReference(".".join(filter(None, (node["catalog_name"], node["schema_name"]))), node["table_name"])
        for node in nodes
        if node.get("type") == "BASE_TABLE"
        and not (node["schema_name"] == "" and node["table_name"].lower() in with_names)
    }
    return tuple(sorted(found))


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the parse tree, however deep."""
    stack = [tree]
    while stack:
        match stack.pop():
            case dict() as node:
                yield node
                stack.extend(node.values())
            case list() as items:
                stack.extend(items)


def _refusal(tree: dict[str, Any]) -> str:
    if tree.get("error_type") == "not implemented":
        return "only a SELECT can be answered: nothing in the lake is changed by SQL"
    return f"not SQL: {tree.get('error_message', 'no reason given')}"


def _first_line(query: str) -> str:
    text = " ".join(query.split())
    return text if len(text) <= 60 else text[:59] + "…"
