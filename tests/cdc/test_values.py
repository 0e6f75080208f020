"""Every type: the copied value equals the streamed one, in binary and in text, and prints as PostgreSQL prints it."""

from __future__ import annotations

import math

import duckdb
import pyarrow as pa
import pytest

from cdc.relation import text_column
from infra.postgres import SUPERUSER
from tests.cdc.conftest import Source
from tests.cdc.printed import printed, same_bits, told

TYPES = (
    "CREATE TYPE mood AS ENUM ('よい', 'not so good', 'NULL', '')",
    "CREATE TYPE money_at AS (amount numeric(8,2), at timestamptz, note text)",
    "CREATE TYPE nested AS (a int[], m money_at, r int4range, p point)",
    "CREATE TYPE guarded AS (who aclitem, n int)",
    "CREATE TYPE floats AS RANGE (subtype = float8)",
    "CREATE DOMAIN price AS numeric(8,3)",
    "CREATE DOMAIN fair_price AS price CHECK (VALUE > 0)",
    "CREATE DOMAIN pair AS int[] CHECK (array_length(VALUE, 1) = 2)",
)

CASES: list[tuple[str, list[str]]] = [
    ("boolean", ["true", "false"]),
    ("smallint", ["-32768", "32767", "0"]),
    ("integer", ["-2147483648", "2147483647"]),
    ("bigint", ["-9223372036854775808", "9223372036854775807"]),
    ("oid", ["4294967295", "0"]),
    ("xid", ["4294967295", "0"]),
    ("cid", ["4294967295", "0"]),
    ("xid8", ["18446744073709551615", "0"]),
    ("numeric(12,2)", ["0", "-0.01", "9999999999.99", "-9999999999.99", "1.5", "100", "NaN"]),
    ("numeric(38,10)", ["9999999999999999999999999999.9999999999", "-0.0000000001", "10000", "0.0001"]),
    ("numeric(5,0)", ["99999", "-1", "10000"]),
    (
        "numeric",
        ["0", "-1.50", "1e40", "0.00000000000000000001", "NaN", "Infinity", "-Infinity", "123456.7890", "1e-5",
         "1e4500"],
    ),
    ("numeric(50,3)", ["12345678901234567890123456789012345678901234567.123"]),
    ("numeric(3,-2)", ["12345", "NaN"]),
    ("numeric(2,5)", ["0.00012"]),
    ("uuid", ["00000000-0000-0000-0000-000000000000", "ffffffff-1234-4321-89ab-0123456789ab"]),
    ("text", ["", "日本語", "a\nb", "quote ' \" \\", "\x01\x7f", "\ufeff\U0010ffff"]),
    ("varchar(10)", ["", "ten chars!"]),
    ("char(5)", ["", "a", "abcde", "日本"]),
    ('"char"', ["a", "", "\\001", "\\377", "é"]),
    ("name", ["directory"]),
    ("json", ['{"b": 1,   "a": [1, 2]}', '{"a": 1, "a": 2}', '"\\u0000"']),
    ("jsonb", ['{"b": 1,   "a": [1, 2]}', "1e400", '"text"', "null", "12345678901234567890.123456789012345678901"]),
    ("jsonpath", ['$.a[*] ? (@ > 1)', '$."b c"']),
    ("date", ["1970-01-01", "2000-01-01", "1582-10-04", "9999-12-31", "10000-01-01", "4713-01-01 BC", "0001-12-31 BC",
              "5874897-12-31", "2024-02-29", "1900-02-28", "infinity", "-infinity"]),
    ("timestamp", ["1970-01-01", "1969-12-31 23:59:59.999999", "2026-04-01 00:00:00.000001", "12026-01-01 00:00:00.1",
                   "4713-01-01 BC", "294246-12-31 23:59:59.999999", "infinity", "-infinity",
                   "294247-01-10 04:00:54.775806", "294247-01-10 04:00:54.775807", "294276-12-31 23:59:59.999999"]),
    ("timestamptz", ["294276-12-31 23:59:59.999999+00",
                     "1970-01-01 09:00:00.5+09", "12026-01-01", "0044-03-15 12:00:00 BC", "infinity", "-infinity"]),
    ("time", ["00:00:00", "24:00:00", "12:34:56.000001", "01:02:03.5"]),
    ("timetz", ["12:00:00+09", "12:00:00.25-03:30", "00:00:00+15:59:59", "24:00:00-15:59:59"]),
    ("interval", ["0", "1 year 2 mons 3 days 04:05:06.789", "-1 mons -2 days -00:00:00.000001", "1 day -1 hour",
                  "-13 months", "infinity", "-infinity", "100 hours", "00:00:59.5", "-25:00:01",
                  "178000000 years", "-178000000 years", "2147483647 days", "2562047788:00:54.775807"]),
    ("float8", ["NaN", "-0", "0", "Infinity", "-Infinity", "1.7976931348623157e308", "5e-324", "0.1", "1e23",
                "123456789012345678", "1e15", "999999999999999", "1e-5", "0.0001", "9007199254740993",
                "2.2250738585072014e-308", "-1.5"]),
    ("float4", ["NaN", "-0", "0", "Infinity", "-Infinity", "3.4028235e38", "1e-45", "0.1", "1e6", "999999",
                "16777216", "8.5e9"]),
    ("bytea", ["", "\\x00ff", "\\xdeadbeef"]),
    ("bit(5)", ["10101", "00000"]),
    ("bit varying", ["", "1", "101010101"]),
    ("inet", ["10.1.2.3", "10.1.2.3/8", "::1", "::", "::ffff:1.2.3.4", "2001:db8::1/64", "1:0:0:2:0:0:0:3",
              "1:2:3:4:5:6:7:0", "::1.2.3.4", "fe80::/10", "0.0.0.0/0", "::2:3"]),
    ("cidr", ["10.1.2.0/24", "0.0.0.0/0", "10.1.2.3/32", "2001:db8::/32", "::/0"]),
    ("macaddr", ["08:00:2b:01:02:03"]),
    ("macaddr8", ["08:00:2b:01:02:03:04:ff"]),
    ("point", ["(1.5,-2)", "(NaN,Infinity)", "(1e300,1e-300)", "(-0,0.1)"]),
    ("line", ["{1,-1,0}", "{0.1,2,3}"]),
    ("lseg", ["[(0,0),(1,1.25)]"]),
    ("box", ["(3,4),(1,2)"]),
    ("path", ["[(0,0),(1,1),(2,0)]", "((0,0),(1,1),(2,0))"]),
    ("polygon", ["((0,0),(1,1),(2,0))"]),
    ("circle", ["<(1,2),3.5>"]),
    ("tsvector", ["", "a fat cat", "'it''s':3A,4 back\\\\slash:1B,16383C 日本:2"]),
    ("tsquery", ["", "fat & rat", "!(fat | rat) & cat", "fat <-> (rat <2> cat)", "(a <-> b) <-> c", 
                 "super:*ABC & 'it''s':D",                 "!!a", "a | b & !c | d", "(a & b) <3> !c"]),
    ("pg_lsn", ["16/B374D848", "0/0", "FFFFFFFF/FFFFFFFF"]),
    ("tid", ["(0,1)", "(4294967295,65535)"]),
    ("pg_snapshot", ["10:20:10,14,15", "1:1:"]),
    ("txid_snapshot", ["10:20:10,14,15", "1:1:"]),
    ("int2vector", ["1 -2 3", ""]),
    ("oidvector", ["1 4294967295", ""]),
    ("refcursor", ["cursor"]),
    ("money", ["-1234567.89", "0.01"]),
    ("regclass", ["pg_class", "public.t", "1"]),
    ("regtype", ["integer", "public.mood"]),
    ("regproc", ["pg_catalog.now"]),
    ("regprocedure", ["pg_catalog.abs(integer)"]),
    ("regoper", ["pg_catalog.||/"]),
    ("regoperator", ["+(integer,integer)"]),
    ("regrole", ["pg_monitor"]),
    ("regnamespace", ["pg_catalog"]),
    ("regconfig", ["english"]),
    ("regdictionary", ["simple"]),
    ("regcollation", ['"C"']),
    ("aclitem", ["=r/{user}"]),
    ("aclitem[]", ["{=r/{user}}", "{}"]),
    ("int4range", ["empty", "[1,5)", "(,5)", "[1,)", "(,)"]),
    ("int8range", ["[-9223372036854775808,9223372036854775807)"]),
    ("numrange", ["[1.50,2.5]", "(1e30,NaN]", "(-Infinity,0]"]),
    ("daterange", ["[2020-01-01,2020-02-01)", "[0044-03-15 BC,infinity)", "[-infinity,infinity]"]),
    ("tsrange", ["[2020-01-01 00:00,2020-02-01 12:30:00.5)"]),
    ("tstzrange", ["[2020-01-01 09:00+09,infinity)"]),
    ("floats", ["[0.1,1e300]", "(-Infinity,NaN)"]),
    ("int4multirange", ["{}", "{[1,5),[7,9)}"]),
    ("tstzmultirange", ["{[2020-01-01,2020-01-02),[2021-01-01,)}"]),
    ("mood", ["よい", "not so good"]),
    ("price", ["-1.25", "99999.999", "NaN"]),
    ("fair_price", ["1.25", "NaN"]),
    ("money_at", ['(1.50,2026-01-01 00:00:00+00,"a, ""b"" \\\\ (c)")', "(,,)", '(,,"")', "(NaN,infinity,NULL)"]),
    ("nested", ['("{1,NULL}","(1.00,,x)","[1,5)","(1,2)")', "(,,,)", '("[0:1]={1,2}",,,)']),
    ("guarded", ["(=r/{user},1)", "(,)"]),
    ("text[]", ["{}", '{{a,"b ,"},{NULL,"NULL"}}', '{a,NULL,"",日本,"NULL","a,b","\\"q\\\\","{x}"," "}']),
    ("int[]", ["{}", "{1,NULL,-2}", "{{1,2},{NULL,4}}", "[0:1]={1,2}", "[-1:0][2:3]={{1,2},{3,4}}", "{{{1}},{{2}}}"]),
    ("numeric(6,2)[]", ["{1.5,NULL,-2}", "{1,NaN,NULL}", "{{NaN}}"]),
    ("bytea[]", ['{"\\\\x00ff",""}', '{{"\\\\x00ff",""}}']),
    ("timestamptz[]", ['{"2026-01-01 00:00:00+00",infinity,NULL}', "{infinity,294270-01-01}"]),
    ("box[]", ["{(1,1),(0,0);(2,2),(1,1)}", "{{(1,1),(0,0)};{(2,2),(1,1)}}"]),
    ("mood[]", ['{よい,"NULL",NULL,""}', '[3:3]={"not so good"}']),
    ("money_at[]", ['{"(1.50,,\\"a \\"\\"b\\"\\"\\")",NULL}', '{{"(NaN,infinity,\\"{,}\\")"}}']),
    ("int4range[]", ['{"[1,5)",empty}']),
    ("pair", ["{1,2}"]),
    ("pair[]", ['{"{1,2}",NULL,"{3,4}"}']),
]  # fmt: skip


# Asked of the server as text: their binary form says nothing to anyone else.
ONLY_AS_TEXT = {pg_type for pg_type, _ in CASES if pg_type.startswith(("reg", "money", "aclitem", "guarded"))} - {
    "money_at",
    "money_at[]",
}


@pytest.mark.parametrize("binary", [True, False], ids=["binary session", "text session"])
def test_copied_and_streamed_values_are_identical_and_print_as_postgresql_prints(source: Source, binary: bool) -> None:
    cases = {
        f"c{number}": (pg_type, [literal.replace("{user}", SUPERUSER) for literal in literals])
        for number, (pg_type, literals) in enumerate(CASES)
        if not binary or pg_type not in ONLY_AS_TEXT
    }
    columns = ", ".join(f"{name} {pg_type}" for name, (pg_type, _) in cases.items())
    source.execute(
        *TYPES,
        f"CREATE TABLE t (id bigint PRIMARY KEY, {columns})",
        "ALTER PUBLICATION published ADD TABLE t",
    )
    start = source.start()
    with source.database.connect() as connection, connection.transaction():
        for number in range(max(len(literals) for _, literals in cases.values()) + 1):
            row = {name: literals[number] for name, (_, literals) in cases.items() if number < len(literals)}
            values = ", ".join(f"%s::{cases[name][0]}" for name in row)
            names = ", ".join(["id", *row])
            connection.execute(f"INSERT INTO t ({names}) VALUES ({number}{', ' * bool(row)}{values})", [*row.values()])

    streamed = source.take(start, binary=binary).tables[0].rows
    copied = source.copy("public.t")

    assert bool(source.only_as_text()) is not binary
    expected = printed(source, "t", list(cases))
    for name, (pg_type, _) in cases.items():
        assert told(copied, name, pg_type) == expected[name], pg_type
        for column in {name, text_column(name)} & {*copied.column_names, *streamed.column_names}:
            assert same_bits(streamed[column].combine_chunks(), copied[column].combine_chunks()), pg_type


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


def test_a_reader_without_a_stake_sees_infinity_and_years_beyond_9999(source: Source) -> None:
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

    with duckdb.connect() as reader:
        reader.execute("SET TimeZone = 'UTC'")
        reader.register("changes", rows)
        seen = reader.execute("SELECT z::text, epoch_us(w), d::text FROM changes ORDER BY id").fetchall()
    assert seen[0][0] == "infinity" and seen[0][2] == "infinity"
    assert rows["w"].cast(pa.int64()).to_pylist()[0] == -(2**63 - 1)
    assert seen[1] == ("2026-03-31 15:00:00.000001+00", 1775001600000001, "2026-04-01")
    assert seen[2] == ("4713-01-01 (BC) 00:00:00+00", _epoch_us(source, "12026-01-01"), "-infinity")


def _epoch_us(source: Source, timestamp: str) -> int:
    ((us,),) = source.database.rows(f"SELECT (extract(epoch FROM timestamp '{timestamp}') * 1000000)::bigint")
    return int(us)


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
