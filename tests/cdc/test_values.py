"""Every supported type: the copied value equals the streamed one, and both equal what PostgreSQL itself prints."""

from __future__ import annotations

import math

import duckdb
import pyarrow as pa
import pytest

from tests.cdc.conftest import Source

# type, literals, and how DuckDB (a reader without a stake) prints the lake's value in PostgreSQL's words.
CASES: list[tuple[str, list[str]]] = [
    ("boolean", ["true", "false"]),
    ("smallint", ["-32768", "32767", "0"]),
    ("integer", ["-2147483648", "2147483647"]),
    ("bigint", ["-9223372036854775808", "9223372036854775807"]),
    ("oid", ["4294967295", "0"]),
    ("numeric(12,2)", ["0", "-0.01", "9999999999.99", "-9999999999.99", "1.5", "100"]),
    ("numeric(38,10)", ["9999999999999999999999999999.9999999999", "-0.0000000001", "10000", "0.0001"]),
    ("numeric(5,0)", ["99999", "-1", "10000"]),
    (
        "numeric",
        ["0", "-1.50", "1e40", "0.00000000000000000001", "NaN", "Infinity", "-Infinity", "123456.7890", "1e-5"],
    ),
    ("numeric(50,3)", ["12345678901234567890123456789012345678901234567.123"]),
    ("uuid", ["00000000-0000-0000-0000-000000000000", "ffffffff-1234-4321-89ab-0123456789ab"]),
    ("text", ["", "日本語", "a\nb", "quote ' \" \\"]),
    ("varchar(10)", ["", "ten chars!"]),
    ("char(5)", ["a", "abcde"]),
    ("name", ["directory"]),
    ("json", ['{"b": 1,   "a": [1, 2]}']),
    ("jsonb", ['{"b": 1,   "a": [1, 2]}', "1e400", '"text"', "null"]),
    ("date", ["1970-01-01", "2000-01-01", "1582-10-04", "9999-12-31"]),
    ("time", ["00:00:00", "24:00:00", "12:34:56.000001", "01:02:03.5"]),
    ("timetz", ["12:00:00+09", "12:00:00.25-03:30", "00:00:00+15:59:59"]),
]


@pytest.mark.parametrize(("pg_type", "literals"), CASES, ids=[case[0] for case in CASES])
def test_copied_and_streamed_values_are_identical_and_print_as_postgresql_prints(
    source: Source, pg_type: str, literals: list[str]
) -> None:
    insert = f"INSERT INTO t SELECT row_number() OVER (), v::{pg_type} FROM unnest(%s::text[]) AS v"
    source.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, v {pg_type})", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    with source.database.connect() as connection:
        connection.execute(insert, ([*literals, None],))
        printed = [row[0] for row in connection.execute("SELECT v::text FROM t ORDER BY id")]

    streamed = source.take(start).tables[0].rows
    copied = source.copy("public.t")

    assert streamed["v"].combine_chunks().equals(copied["v"].combine_chunks())
    assert _printed(streamed["v"], pg_type) == printed


def _printed(values: pa.ChunkedArray, pg_type: str) -> list[str | None]:
    if pa.types.is_date(values.type):
        return [None if v is None else v.isoformat() for v in values.to_pylist()]
    if pa.types.is_boolean(values.type):
        return [None if v is None else str(v).lower() for v in values.to_pylist()]
    if pa.types.is_decimal(values.type):
        return [None if v is None else f"{v:f}" for v in values.to_pylist()]
    if pg_type.startswith("char("):  # text drops the padding that char keeps
        return [None if v is None else v.rstrip(" ") for v in values.to_pylist()]
    return [None if v is None else str(v) for v in values.to_pylist()]


def test_floats_keep_every_bit(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, d float8, r float4)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    source.execute(
        "INSERT INTO t VALUES (1, 'NaN', 'NaN'), (2, '-0', '-0'), (3, 'infinity', '-infinity'),"
        " (4, 1.7976931348623157e308, 3.4028235e38), (5, 5e-324, 1e-45), (6, 0.1, 0.1)"
    )

    rows = {row["id"]: row for row in source.take(start).tables[0].rows.to_pylist()}

    assert math.isnan(rows[1]["d"]) and math.isnan(rows[1]["r"])
    assert math.copysign(1, rows[2]["d"]) == math.copysign(1, rows[2]["r"]) == -1
    assert (rows[3]["d"], rows[3]["r"]) == (math.inf, -math.inf)
    assert (rows[4]["d"], rows[5]["d"], rows[6]["d"]) == (1.7976931348623157e308, 5e-324, 0.1)
    assert rows[6]["r"] == pa.scalar(0.1, pa.float32()).as_py()


def test_times_keep_microseconds_infinity_and_years_beyond_9999(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, z timestamptz, w timestamp, d date)",
        "ALTER PUBLICATION published ADD TABLE t",
    )
    start = source.start()
    source.execute(
        "INSERT INTO t VALUES (1, 'infinity', '-infinity', 'infinity'),"
        " (2, '2026-04-01 00:00:00.000001+09', '2026-04-01 00:00:00.000001', '2026-04-01'),"
        " (3, '4713-01-01 00:00:00+00 BC', '12026-01-01', '-infinity')"
    )

    rows = source.take(start).tables[0].rows

    reader = duckdb.from_arrow(rows)
    duckdb.sql("SET TimeZone = 'UTC'")
    printed = reader.order("id").project("z::text, epoch_us(w), d::text").fetchall()
    assert printed[0][0] == "infinity" and printed[0][2] == "infinity"
    assert rows["w"].cast(pa.int64()).to_pylist()[0] == -(2**63 - 1)
    assert printed[1] == ("2026-03-31 15:00:00.000001+00", 1775001600000001, "2026-04-01")
    assert printed[2] == ("4713-01-01 (BC) 00:00:00+00", _epoch_us(source, "12026-01-01"), "-infinity")


def _epoch_us(source: Source, timestamp: str) -> int:
    ((us,),) = source.database.rows(f"SELECT (extract(epoch FROM timestamp '{timestamp}') * 1000000)::bigint")
    return int(us)


INTERVALS = [
    "0",
    "1 year 2 mons 3 days 04:05:06.789",
    "-1 mons -2 days -00:00:00.000001",
    "1 day -1 hour",
    "-13 months",
    "infinity",
    "-infinity",
    "100 hours",
    "00:00:59.5",
    "-25:00:01",
]


def test_intervals_print_as_iso_8601(source: Source) -> None:
    source.execute("CREATE TABLE t (id bigint PRIMARY KEY, v interval)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    with source.database.connect() as connection:
        connection.execute(
            "INSERT INTO t SELECT row_number() OVER (), v::interval FROM unnest(%s::text[]) AS v", (INTERVALS,)
        )
        connection.execute("SET intervalstyle = iso_8601")
        printed = [row[0] for row in connection.execute("SELECT v::text FROM t ORDER BY id")]

    streamed = source.take(start).tables[0].rows["v"].to_pylist()

    assert streamed == printed


def test_arrays_tell_null_empty_and_null_elements_apart(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a text[], n numeric(6,2)[], u uuid[])",
        "ALTER PUBLICATION published ADD TABLE t",
    )
    start = source.start()
    source.execute(
        "INSERT INTO t VALUES (1, NULL, '{}', NULL), (2, '{}', '{1.5,NULL,-2}', '{}'),"
        " (3, '{a,NULL,\"\",日本}', NULL, '{00000000-0000-0000-0000-000000000001}')"
    )

    rows = source.take(start).tables[0].rows.select(["a", "n", "u"])

    assert rows["a"].to_pylist() == [None, [], ["a", None, "", "日本"]]
    assert [None if v is None else [x and str(x) for x in v] for v in rows["n"].to_pylist()] == [
        [],
        ["1.50", None, "-2.00"],
        None,
    ]
    assert rows["u"].to_pylist() == [None, [], ["00000000-0000-0000-0000-000000000001"]]


def test_enums_and_domains_are_read_by_what_they_are_made_of(source: Source) -> None:
    source.execute(
        "CREATE TYPE mood AS ENUM ('よい', 'bad')",
        "CREATE DOMAIN price AS numeric(8,3)",
        "CREATE DOMAIN fair_price AS price CHECK (VALUE > 0)",
        "CREATE TABLE t (id int PRIMARY KEY, m mood, p fair_price, ms mood[])",
        "ALTER PUBLICATION published ADD TABLE t",
    )
    start = source.start()
    source.execute("INSERT INTO t VALUES (1, 'よい', 1.25, '{bad}')")

    rows = source.take(start).tables[0].rows

    assert rows.schema.field("p").type == pa.decimal128(8, 3)
    assert [str(v) for v in rows.select(["m", "p", "ms"]).to_pylist()[0].values()] == ["よい", "1.250", "['bad']"]
    assert rows["p"].equals(source.copy("public.t")["p"])
