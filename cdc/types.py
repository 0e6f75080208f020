"""Which lake type a PostgreSQL type becomes, and by which decoder: one rule for copy and stream alike.

    scalars that the lake knows     their own type: boolean, long, double, decimal, date, timestamp, binary
    arrays                          list of what the element becomes
    domains                         what they are made of
    everything else                 string, as PostgreSQL prints it

docs/types.md says it type by type; a test holds it against this table. A type whose binary form is nobody's business
but its extension's, or depends on the server's settings, has no printer: its columns are copied as text, and a stream
that carries one is a text session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

import pyarrow as pa

from cdc.batch import TIMESTAMP
from cdc.errors import BinaryUnreadable, TypeNotSupported
from cdc.printers import Printer, containers, geometry, network, numbers, plain, search, times


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
    PRINTED = auto()
    ARRAY = auto()


@dataclass(frozen=True, slots=True)
class LakeType:
    """A decoder and the Arrow type it yields. Every codec also reads what PostgreSQL prints."""

    codec: Codec
    arrow: pa.DataType
    printer: Printer | None  # of the binary form; None: only PostgreSQL can print it
    scale: int = 0  # of a decimal
    element: LakeType | None = None  # of an array
    delimiter: str = ","  # between an array's elements

    @property
    def needs_text(self) -> bool:
        """Its binary form says nothing to us: ask for text."""
        return self.printer is None


@dataclass(frozen=True, slots=True)
class PgType:
    """What ``pg_type`` and its neighbours say of one type, as far as it decides how a value is read."""

    oid: int
    schema: str
    name: str
    kind: str  # typtype: b base, e enum, d domain, c composite, r range, m multirange
    base_oid: int = 0  # typbasetype, of a domain
    base_modifier: int = -1  # typtypmod, of a domain
    element_oid: int = 0  # typelem, of a true array
    delimiter: str = ","  # typdelim of that element
    subtype_oid: int = 0  # rngsubtype, of a range and its multirange
    member_oids: tuple[int, ...] = ()  # of a composite
    send: str = ""  # typsend, where it is one of PostgreSQL's own


_STRING = pa.string()
_LONG = pa.int64()

# By the name in pg_catalog.
FIXED: dict[str, tuple[Codec, pa.DataType, Printer | None]] = {
    "bool": (Codec.BOOL, pa.bool_(), numbers.boolean),
    "int2": (Codec.INTEGER, _LONG, numbers.integer),
    "int4": (Codec.INTEGER, _LONG, numbers.integer),
    "int8": (Codec.INTEGER, _LONG, numbers.integer),
    "oid": (Codec.UNSIGNED, _LONG, numbers.unsigned),
    "xid": (Codec.UNSIGNED, _LONG, numbers.unsigned),
    "cid": (Codec.UNSIGNED, _LONG, numbers.unsigned),
    "float4": (Codec.FLOAT4, pa.float64(), numbers.float4),
    "float8": (Codec.FLOAT8, pa.float64(), numbers.float8),
    "date": (Codec.DATE, pa.date32(), times.date),
    "timestamp": (Codec.TIMESTAMP, TIMESTAMP, times.timestamp),
    "timestamptz": (Codec.TIMESTAMP, TIMESTAMP, times.timestamptz),
    "bytea": (Codec.BYTES, pa.binary(), plain.bytea),
    "uuid": (Codec.UUID, _STRING, plain.uuid),
    "text": (Codec.TEXT, _STRING, plain.text),
    "varchar": (Codec.TEXT, _STRING, plain.text),
    "bpchar": (Codec.TEXT, _STRING, plain.text),
    "name": (Codec.TEXT, _STRING, plain.text),
    "json": (Codec.TEXT, _STRING, plain.text),
    "xml": (Codec.TEXT, _STRING, plain.text),
    "refcursor": (Codec.TEXT, _STRING, plain.text),
    "jsonb": (Codec.JSONB, _STRING, plain.versioned_text),
    "jsonpath": (Codec.JSONB, _STRING, plain.versioned_text),
    "char": (Codec.PRINTED, _STRING, plain.char),
    "time": (Codec.PRINTED, _STRING, times.time),
    "timetz": (Codec.PRINTED, _STRING, times.timetz),
    "interval": (Codec.PRINTED, _STRING, times.interval),
    "bit": (Codec.PRINTED, _STRING, plain.bits),
    "varbit": (Codec.PRINTED, _STRING, plain.bits),
    "inet": (Codec.PRINTED, _STRING, network.inet),
    "cidr": (Codec.PRINTED, _STRING, network.cidr),
    "macaddr": (Codec.PRINTED, _STRING, network.mac),
    "macaddr8": (Codec.PRINTED, _STRING, network.mac),
    "point": (Codec.PRINTED, _STRING, geometry.point),
    "line": (Codec.PRINTED, _STRING, geometry.line),
    "lseg": (Codec.PRINTED, _STRING, geometry.lseg),
    "box": (Codec.PRINTED, _STRING, geometry.box),
    "path": (Codec.PRINTED, _STRING, geometry.path),
    "polygon": (Codec.PRINTED, _STRING, geometry.polygon),
    "circle": (Codec.PRINTED, _STRING, geometry.circle),
    "tsvector": (Codec.PRINTED, _STRING, search.tsvector),
    "tsquery": (Codec.PRINTED, _STRING, search.tsquery),
    "xid8": (Codec.PRINTED, _STRING, numbers.unsigned),
    "pg_lsn": (Codec.PRINTED, _STRING, plain.lsn),
    "tid": (Codec.PRINTED, _STRING, plain.tid),
    "pg_snapshot": (Codec.PRINTED, _STRING, plain.snapshot),
    "txid_snapshot": (Codec.PRINTED, _STRING, plain.snapshot),
    "int2vector": (Codec.PRINTED, _STRING, plain.vector),
    "oidvector": (Codec.PRINTED, _STRING, plain.vector),
}

# Whoever sends by one of these sends what it prints: citext, and what else is text with rules of its own.
_TEXT_SENDERS = frozenset({"textsend", "varcharsend", "bpcharsend", "namesend", "json_send", "enum_send"})
_MAX_PRECISION = 38


def lake_type(oid: int, modifier: int, catalogue: Mapping[int, PgType], *, column: str) -> LakeType:
    """The one rule, for ``pg_attribute.atttypid`` and ``atttypmod``. Raises TypeNotSupported, naming ``column``."""
    try:
        pg_type = catalogue[oid]
        if pg_type.kind == "d":
            inner = modifier if pg_type.base_modifier < 0 else pg_type.base_modifier
            return lake_type(pg_type.base_oid, inner, catalogue, column=column)
        if pg_type.element_oid:
            element = lake_type(pg_type.element_oid, modifier, catalogue, column=column)
            printer = element.printer and containers.array(element.printer, pg_type.delimiter)
            return LakeType(Codec.ARRAY, pa.list_(element.arrow), printer, element=element, delimiter=pg_type.delimiter)
        if pg_type.schema == "pg_catalog" and pg_type.name == "numeric":
            return _numeric(modifier)
        if pg_type.schema == "pg_catalog" and pg_type.name in FIXED:
            return LakeType(*FIXED[pg_type.name])
        if pg_type.send in _TEXT_SENDERS:
            return LakeType(Codec.TEXT, _STRING, plain.text)
        return LakeType(Codec.PRINTED, _STRING, _printer(pg_type, catalogue))
    except KeyError as error:
        raise TypeNotSupported(f"type with oid {error} is not in the catalogue", subject=column) from error


def _numeric(modifier: int) -> LakeType:
    if modifier >= 4:
        precision = (modifier - 4) >> 16 & 0xFFFF
        scale = ((modifier - 4) & 0x7FF ^ 1024) - 1024  # eleven bits, signed since PostgreSQL 15
        if precision <= _MAX_PRECISION and 0 <= scale <= precision:
            return LakeType(Codec.DECIMAL, pa.decimal128(precision, scale), numbers.numeric, scale)
    return LakeType(Codec.NUMERIC, _STRING, numbers.numeric)


def _printer(pg_type: PgType, catalogue: Mapping[int, PgType]) -> Printer | None:
    """For what isn't in the table: composites, ranges, multiranges. None for anything whose bytes nobody told us."""

    def of(oid: int) -> Printer | None:
        return lake_type(oid, -1, catalogue, column=pg_type.name).printer

    match pg_type.kind:
        case "c":
            known = {oid: printer for oid in pg_type.member_oids if (printer := of(oid)) is not None}

            def member(oid: int) -> Printer:
                if oid not in known:  # joined the type since
                    known[oid] = of(oid) or _unreadable(pg_type)
                return known[oid]

            return containers.record(member) if known.keys() == set(pg_type.member_oids) else None
        case "r" | "m":
            bound = of(pg_type.subtype_oid)
            if bound is None:
                return None
            one = containers.range_of(bound)
            return one if pg_type.kind == "r" else containers.multirange_of(one)
        case _:
            return None


def _unreadable(pg_type: PgType) -> Printer:
    raise BinaryUnreadable("has got a member that only PostgreSQL can print", subject=f"type {pg_type.name}")
