"""Which lake type a PostgreSQL type becomes, and by which decoder: one table for copy and stream alike.

    bool                          boolean
    int2 int4 int8 oid xid        long
    float4 float8                 double
    numeric(p, s), p <= 38        decimal(p, s)
    numeric, larger ones          string, as PostgreSQL prints it
    date                          date; ±infinity at the ends of 32 bits
    timestamptz                   timestamp, µs, UTC; ±infinity at the ends of 64 bits
    timestamp                     the same, its wall clock read as UTC
    uuid                          string
    text varchar bpchar name      string
    "char" json jsonb xml enum    string
    time timetz interval          string, ISO 8601 for interval
    bytea                         binary
    array of any of these         list, one dimension
    domain                        its base type

Anything else is refused before the stream starts (``TypeNotSupported``), with the column's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

import pyarrow as pa

from cdc.batch import TIMESTAMP
from cdc.errors import TypeNotSupported


class Codec(Enum):
    """How a value's bytes are read."""

    BOOL = auto()
    INTEGER = auto()
    UNSIGNED = auto()
    FLOAT4 = auto()
    FLOAT8 = auto()
    DECIMAL = auto()
    NUMERIC = auto()
    DATE = auto()
    TIMESTAMP = auto()
    UUID = auto()
    TEXT = auto()
    JSONB = auto()
    BYTES = auto()
    TIME = auto()
    TIMETZ = auto()
    INTERVAL = auto()
    ARRAY = auto()


@dataclass(frozen=True, slots=True)
class LakeType:
    """A decoder and the Arrow type it yields; ``element`` for arrays."""

    codec: Codec
    arrow: pa.DataType
    scale: int = 0
    element: LakeType | None = None


@dataclass(frozen=True, slots=True)
class PgType:
    """One row of ``pg_type``, as far as it decides how a value is read."""

    oid: int
    name: str
    kind: str  # typtype: b base, e enum, d domain, c composite, r range, m multirange, p pseudo
    base_oid: int  # typbasetype, for a domain
    base_modifier: int  # typtypmod, for a domain
    element_oid: int  # typelem, for a true array


_FIXED: dict[str, tuple[Codec, pa.DataType]] = {
    "bool": (Codec.BOOL, pa.bool_()),
    "int2": (Codec.INTEGER, pa.int64()),
    "int4": (Codec.INTEGER, pa.int64()),
    "int8": (Codec.INTEGER, pa.int64()),
    "oid": (Codec.UNSIGNED, pa.int64()),
    "xid": (Codec.UNSIGNED, pa.int64()),
    "float4": (Codec.FLOAT4, pa.float64()),
    "float8": (Codec.FLOAT8, pa.float64()),
    "date": (Codec.DATE, pa.date32()),
    "timestamp": (Codec.TIMESTAMP, TIMESTAMP),
    "timestamptz": (Codec.TIMESTAMP, TIMESTAMP),
    "uuid": (Codec.UUID, pa.string()),
    "text": (Codec.TEXT, pa.string()),
    "varchar": (Codec.TEXT, pa.string()),
    "bpchar": (Codec.TEXT, pa.string()),
    "name": (Codec.TEXT, pa.string()),
    "char": (Codec.TEXT, pa.string()),
    "json": (Codec.TEXT, pa.string()),
    "xml": (Codec.TEXT, pa.string()),
    "jsonb": (Codec.JSONB, pa.string()),
    "bytea": (Codec.BYTES, pa.binary()),
    "time": (Codec.TIME, pa.string()),
    "timetz": (Codec.TIMETZ, pa.string()),
    "interval": (Codec.INTERVAL, pa.string()),
}

_MAX_PRECISION = 38


def lake_type(oid: int, modifier: int, catalogue: Mapping[int, PgType], *, column: str) -> LakeType:
    """The one rule, for ``pg_attribute.atttypid`` and ``atttypmod``. Raises TypeNotSupported, naming ``column``."""
    pg_type = catalogue.get(oid)
    if pg_type is None:
        raise TypeNotSupported(f"type with oid {oid} is not in the catalogue", subject=column)
    if pg_type.kind == "d":
        inner = modifier if pg_type.base_modifier < 0 else pg_type.base_modifier
        return lake_type(pg_type.base_oid, inner, catalogue, column=column)
    if pg_type.element_oid:
        element = lake_type(pg_type.element_oid, modifier, catalogue, column=column)
        return LakeType(Codec.ARRAY, pa.list_(element.arrow), element=element)
    if pg_type.kind == "e":
        return LakeType(Codec.TEXT, pa.string())
    if pg_type.name == "numeric":
        return _numeric(modifier)
    fixed = _FIXED.get(pg_type.name)
    if fixed is None or pg_type.kind != "b":
        raise TypeNotSupported(f"type {pg_type.name} has no lake type yet", subject=column)
    return LakeType(*fixed)


def _numeric(modifier: int) -> LakeType:
    if modifier >= 4:
        precision = (modifier - 4) >> 16 & 0xFFFF
        scale = ((modifier - 4) & 0x7FF ^ 1024) - 1024  # eleven bits, signed since PostgreSQL 15
        if precision <= _MAX_PRECISION and 0 <= scale <= precision:
            return LakeType(Codec.DECIMAL, pa.decimal128(precision, scale), scale)
    return LakeType(Codec.NUMERIC, pa.string())
