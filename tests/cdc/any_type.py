"""Random PostgreSQL types, and random values of them as SQL expressions: what Hypothesis draws for test_any_table.

A type is drawn together with the statements that make it, so that types of types come about: an array of a domain over
a composite that holds a multirange.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

Values = st.SearchStrategy[str]
"""SQL expressions."""


@dataclass(frozen=True)
class AnyType:
    """``shown`` is what it is made of, as ``tests.cdc.printed`` wants it told; ``makes`` come before its first use."""

    sql: str
    shown: str
    values: Values
    makes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.sql


def literal(text: str) -> str:
    """Any text as an SQL string."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _spelled(sql: str, texts: st.SearchStrategy[str], shown: str | None = None) -> AnyType:
    return AnyType(sql, shown or sql, texts.map(lambda text: f"{literal(text)}::{sql}"))


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8) | st.sampled_from(
    ("", "NULL", "null", "{}", '"', "\\", "a,b", "()", " ", "\t\n", "日本", "'")
)
_signs = st.sampled_from(("", "-"))
_eras = st.sampled_from(("", "", "", " BC"))


def _whole(bits: int) -> st.SearchStrategy[str]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(str)


def _floats(width: int) -> st.SearchStrategy[str]:
    return st.floats(width=width).map(lambda x: str(x).replace("inf", "infinity"))


@st.composite
def _day(draw: st.DrawFn, last_year: int) -> tuple[str, str]:
    era = draw(_eras)
    year = draw(st.integers(1, 4713 if era else last_year) | st.sampled_from((1, 1999, 2000, 9999, 4713)))
    return f"{year:04}-{draw(st.integers(1, 12)):02}-{draw(st.integers(1, 28)):02}", era


@st.composite
def _moments(draw: st.DrawFn, zone: str) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(("infinity", "-infinity")))
    # West of Greenwich the last year's last hours lie beyond the last moment that PostgreSQL takes.
    (day, era) = draw(_day(294_275 if zone.startswith("-") else 294_276))
    return f"{day} {draw(_clocks)}{zone}{era}"


@st.composite
def _clock(draw: st.DrawFn) -> str:
    hour, minute, second = draw(st.integers(0, 23)), draw(st.integers(0, 59)), draw(st.integers(0, 59))
    return f"{hour:02}:{minute:02}:{second:02}.{draw(st.integers(0, 999_999)):06}"


_clocks = _clock()
_dates = _day(5_874_897).map("".join) | st.sampled_from(("infinity", "-infinity"))
_intervals = st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(-(10**15), 10**15)).map(
    lambda parts: f"{parts[0]} months {parts[1]} days {parts[2]} microseconds"
) | st.sampled_from(("infinity", "-infinity", "0"))
_points = st.tuples(_floats(64), _floats(64)).map(lambda p: f"({p[0]},{p[1]})")
_finite = st.floats(allow_nan=False, allow_infinity=False).map(str)
_jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
).map(lambda value: json.dumps(value, ensure_ascii=False))
_decimals = st.tuples(_signs, st.integers(0, 10**60), st.integers(-20, 60)).map(lambda n: f"{n[0]}{n[1]}e{n[2]}")

SCALARS = (
    _spelled("boolean", st.sampled_from(("true", "false"))),
    _spelled("smallint", _whole(16)),
    _spelled("integer", _whole(32)),
    _spelled("bigint", _whole(64)),
    _spelled("oid", st.integers(0, 2**32 - 1).map(str)),
    _spelled("xid8", st.integers(0, 2**64 - 1).map(str)),
    _spelled("float4", _floats(32)),
    _spelled("float8", _floats(64)),
    _spelled("numeric", _decimals | st.sampled_from(("NaN", "Infinity", "-Infinity"))),
    _spelled("text", texts),
    _spelled("varchar(8)", texts),
    AnyType("char(10)", "char(10)", texts.map(lambda text: f"{literal(text)}::char(10)")),
    _spelled("jsonb", _jsons),
    _spelled("json", _jsons),
    _spelled("uuid", st.uuids().map(str)),
    _spelled("bytea", st.binary(max_size=9).map(lambda value: "\\x" + value.hex())),
    _spelled("bit varying", st.text("01", max_size=20)),
    _spelled("date", _dates),
    _spelled("timestamp", _moments("")),
    _spelled("timestamptz", _moments("+00") | _moments("-09:30")),
    _spelled("time", _clocks),
    _spelled("timetz", _clocks.map(lambda clock: f"{clock}+09:30")),
    _spelled("interval", _intervals),
    _spelled("inet", st.ip_addresses().map(str)),
    _spelled("macaddr", st.binary(min_size=6, max_size=6).map(lambda value: value.hex(":"))),
    _spelled("point", _points),
    _spelled("circle", st.tuples(_points, st.floats(0, 1e300).map(str)).map(lambda c: f"<{c[0]},{c[1]}>")),
    _spelled("pg_lsn", st.integers(0, 2**64 - 1).map(lambda n: f"{n >> 32:X}/{n & 0xFFFFFFFF:X}")),
)
ONLY_AS_TEXT = (
    _spelled("money", st.integers(-(10**12), 10**12).map(lambda cents: f"{cents / 100:.2f}")),
    _spelled("regtype", st.sampled_from(("integer", "text", "pg_catalog.int4range"))),
)
# Subtype, and bounds that no canonical form pushes beyond its end.
RANGES = (
    ("int4", "int4range", st.integers(-(10**6), 10**6).map(str)),
    ("numeric", "numrange", _decimals),
    ("date", "daterange", _day(9999).map("".join)),
    ("timestamptz", "tstzrange", _moments("+00")),
    ("float8", "floatrange", _finite),
)
MAKE_FLOAT_RANGE = "CREATE TYPE floatrange AS RANGE (subtype = float8)"


@st.composite
def numerics(draw: st.DrawFn) -> AnyType:
    """Of a precision and scale: a decimal where the lake has one for it."""
    precision = draw(st.integers(1, 45))
    scale = draw(st.integers(0, precision) | st.integers(-5, 50))
    digits = st.integers(-(10**precision) + 1, 10**precision - 1)
    return _spelled(f"numeric({precision},{scale})", digits.map(lambda n: f"{n}e{-scale}") | st.just("NaN"))


def nullable(values: Values, sql: str) -> Values:
    return values | st.just(f"NULL::{sql}")


@st.composite
def _arrays(draw: st.DrawFn, of: AnyType) -> str:
    shape = draw(st.lists(st.integers(1, 3), max_size=3) if draw(st.integers(0, 3)) == 0 else st.just([3]))
    if len(shape) == 1:
        shape = [draw(st.integers(0, 4))]
    if 0 in shape or not shape:
        return f"'{{}}'::{of.sql}[]"

    def within(rest: list[int]) -> str:
        if not rest:
            return draw(nullable(of.values, of.sql))
        return "[" + ", ".join(within(rest[1:]) for _ in range(rest[0])) + "]"

    array = f"ARRAY{within(shape)}::{of.sql}[]"
    if draw(st.integers(0, 5)):
        return array
    lower = [draw(st.integers(-2, 2)) for _ in shape]
    bounds = "".join(f"[{low}:{low + count - 1}]" for low, count in zip(lower, shape, strict=True))
    # An array that starts at 1 prints no bounds, so its text can be given others.
    return f"('{bounds}=' || {array}::text)::{of.sql}[]"


def array_of(element: AnyType) -> AnyType:
    return AnyType(f"{element.sql}[]", f"{element.shown}[]", _arrays(element), element.makes)


def domain_over(name: str, base: AnyType) -> AnyType:
    values = base.values.map(lambda value: f"({value})::{name}")
    return AnyType(name, base.shown, values, (*base.makes, f"CREATE DOMAIN {name} AS {base.sql}"))


def composite_of(name: str, members: list[AnyType]) -> AnyType:
    columns = ", ".join(f"m{number} {member.sql}" for number, member in enumerate(members))
    values = st.tuples(*(nullable(member.values, member.sql) for member in members))
    makes = dict.fromkeys(make for member in members for make in member.makes)
    return AnyType(
        name,
        "composite",
        values.map(lambda parts: f"ROW({', '.join(parts)})::{name}"),
        (*makes, f"CREATE TYPE {name} AS ({columns})"),
    )


def enum_of(name: str, labels: list[str]) -> AnyType:
    told = ", ".join(map(literal, labels))
    values = st.sampled_from(labels).map(lambda label: f"{literal(label)}::{name}")
    return AnyType(name, "enum", values, (f"CREATE TYPE {name} AS ENUM ({told})",))


@st.composite
def _range_values(draw: st.DrawFn, subtype: str, name: str, bounds: st.SearchStrategy[str]) -> str:
    one, other = (f"{literal(draw(bounds))}::{subtype}" for _ in range(2))
    ends = draw(st.sampled_from(("[]", "[)", "(]", "()")))
    form = draw(st.integers(0, 5))
    if form == 0:
        return f"{name}(NULL, {other}, '{ends}')"
    if form == 1:
        return f"{name}({one}, NULL, '{ends}')"
    if form == 2:
        return f"'empty'::{name}"
    return f"{name}(least({one}, {other}), greatest({one}, {other}), '{ends}')"


@st.composite
def ranges(draw: st.DrawFn) -> AnyType:
    subtype, name, bounds = draw(st.sampled_from(RANGES))
    makes = (MAKE_FLOAT_RANGE,) if name == "floatrange" else ()
    one = _range_values(subtype, name, bounds)
    if draw(st.booleans()):
        return AnyType(name, name, one, makes)
    many = name.replace("range", "multirange")
    return AnyType(many, many, st.lists(one, max_size=3).map(lambda parts: f"{many}({', '.join(parts)})"), makes)


@st.composite
def any_types(draw: st.DrawFn, name: Callable[[], str], depth: int = 3) -> AnyType:
    """``name`` gives a new name for a type that has to be made."""
    kind = draw(st.integers(0, 9))
    if depth == 0 or kind <= 3:
        return draw(st.sampled_from(SCALARS))
    if kind == 4:
        return draw(numerics())
    if kind == 5:
        return draw(ranges())
    if kind == 6:
        labels = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=9)
        return enum_of(name(), draw(st.lists(labels, min_size=1, max_size=3, unique=True)))
    inner = any_types(name, depth - 1)
    if kind == 7:
        return domain_over(name(), draw(inner))
    if kind == 8:
        return composite_of(name(), draw(st.lists(inner, min_size=1, max_size=3)))
    element = draw(inner)
    # PostgreSQL has no arrays of arrays, only of domains over them.
    return array_of(domain_over(name(), element) if element.sql.endswith("[]") else element)
