"""Column types with random values. ``shown`` is how the source says what the lake must hold (docs/types.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

TEXTS = ("", "a", "B", "  padded ", "山田 太郎", "line\nbreak", "quote ' \" \\", "NULL", "é")


@dataclass(frozen=True)
class Kind:
    sql: str
    value: Callable[[Random], object]  # never None; nulls are the author's choice
    shown: str = "{}"
    keyed: bool = False  # may be part of a key


def _text(r: Random) -> str:
    return r.choice(TEXTS) + (str(r.randint(0, 999)) if r.random() < 0.7 else "")


def _large(r: Random) -> str:
    return r.choice("xyz") * r.choice((10, 3_000, 9_000))


def _time(r: Random) -> datetime:
    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=r.randint(-(10**15), 10**15))


def _float(r: Random) -> float:
    return r.choice((0.0, -0.0, float("nan"), float("inf"), float("-inf"), r.uniform(-1e6, 1e6), r.uniform(-1, 1) / 3))


def _json(r: Random) -> str:
    return json.dumps({r.choice("abc"): r.choice((None, 1, 1e300, "x", [1, {}])), "n": r.randint(0, 99)})


KINDS = (
    Kind("bigint", lambda r: r.choice((r.randint(-9, 9), r.randint(-(2**63), 2**63 - 1))), keyed=True),
    Kind("integer", lambda r: r.randint(-(2**31), 2**31 - 1), keyed=True),
    Kind("smallint", lambda r: r.randint(-(2**15), 2**15 - 1)),
    Kind("boolean", lambda r: r.random() < 0.5),
    Kind("numeric(12,2)", lambda r: Decimal(r.randint(-(10**12) + 1, 10**12 - 1)).scaleb(-2), keyed=True),
    Kind("numeric", lambda r: Decimal(r.randint(-(10**30), 10**30)).scaleb(-r.randint(0, 20)), "{}::text"),
    Kind("double precision", _float),
    Kind("text", _text, keyed=True),
    Kind("text", _large),
    Kind("varchar(40)", _text),
    Kind("timestamptz", _time, keyed=True),
    Kind("timestamp", lambda r: _time(r).replace(tzinfo=None), "{} AT TIME ZONE 'UTC'"),
    Kind("date", lambda r: date(1970, 1, 1) + timedelta(days=r.randint(-100_000, 100_000)), keyed=True),
    Kind("uuid", lambda r: f"{r.getrandbits(128):032x}", "{}::text", keyed=True),
    Kind("jsonb", _json, "{}::text"),
    Kind("bytea", lambda r: r.randbytes(r.choice((0, 3, 40)))),
    Kind("text[]", lambda r: [r.choice((None, *TEXTS)) for _ in range(r.randint(0, 3))]),
    Kind("int[]", lambda r: [r.choice((None, r.randint(-9, 9))) for _ in range(r.randint(0, 3))]),
)
KEY_KINDS = tuple(kind for kind in KINDS if kind.keyed)
