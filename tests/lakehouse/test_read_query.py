"""Which SQL is answered, and what it is found to read."""

from __future__ import annotations

import duckdb
import pytest

from lakehouse.errors import QueryRefused
from lakehouse.query import referenced_tables


def names(query: str) -> list[str]:
    return [str(table) for table in referenced_tables(duckdb.connect(), query)]


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT 1", []),
        ("FROM a.b", ["a.b"]),
        ("SELECT * FROM a.b JOIN a.c USING (id)", ["a.b", "a.c"]),
        ('SELECT * FROM changelog."a.b", rireki.cuts', ["changelog.a.b", "rireki.cuts"]),
        ("SELECT (SELECT max(x) FROM a.c) FROM a.b WHERE EXISTS (FROM a.d)", ["a.b", "a.c", "a.d"]),
        ("WITH w AS (FROM a.b) SELECT * FROM W", ["a.b"]),
        ("WITH w AS (FROM a.b) SELECT * FROM x.w", ["a.b", "x.w"]),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r", []),
        ("SELECT * FROM a.b UNION ALL SELECT * FROM a.c", ["a.b", "a.c"]),
        ("DESCRIBE a.b", ["a.b"]),
        ("FROM users", ["users"]),
        ("SELECT unnest([1]), * FROM range(3)", []),
    ],
)
def test_the_tables_of_a_query_are_found(query: str, tables: list[str]) -> None:
    assert names(query) == tables


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO a.b VALUES (1)",
        "DELETE FROM a.b",
        "COPY a.b TO '/tmp/x'",
        "ATTACH 'x.db'",
        "SET TimeZone = 'UTC'",
        "PRAGMA version",
        "CREATE TABLE x AS FROM a.b",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM READ_TEXT('/etc/passwd')",
        "SELECT * FROM delta_scan('s3://elsewhere/t')",
        "SELECT (SELECT count(*) FROM glob('/**'))",
        "FROM query('FROM a.b')",
        "FROM duckdb_secrets()",
        "SHOW TABLES",
        "SELEC 1",
        "",
    ],
)
def test_what_does_not_only_read_the_lake_is_refused(query: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        names(query)

    assert refused.value.fix
