"""Deletion vectors: which rows of a data file are no longer in the table, in the form that Delta's protocol sets.

A vector is a set of zero-based row numbers: a magic number and a 64-bit Roaring bitmap in its portable form. A small
one lives inside the commit as Z85 text; larger ones share one file per commit, each with its length and CRC-32.
Source: Delta's PROTOCOL.md, "Deletion Vectors" and "Deletion Vector Format".
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pyroaring import BitMap64

MAGIC = struct.pack("<i", 1681511377)
INLINE_BYTES = 4096  # larger ones would make the commit's JSON, which every reader parses, slow

_ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_DIGITS = np.frombuffer(_ALPHABET, dtype=np.uint8)
_VALUES = np.zeros(256, dtype=np.uint64)
_VALUES[_DIGITS] = np.arange(85, dtype=np.uint64)
_POWERS = np.array([85**4, 85**3, 85**2, 85, 1], dtype=np.uint64)

Descriptor = Mapping[str, Any]  # the protocol's DeletionVectorDescriptor, as in the log's JSON


def encode(rows: Mapping[str, BitMap64]) -> tuple[dict[str, Descriptor], tuple[str, bytes] | None]:
    """Descriptors by data file, and the vector file (name, bytes) that must be there before the commit, if any."""
    name = uuid.uuid4()
    body = bytearray(b"\x01")  # the vector file's format version
    descriptors: dict[str, Descriptor] = {}
    for path, bitmap in rows.items():
        serialized = MAGIC + bitmap.serialize()
        place: dict[str, Any] = {"storageType": "i", "pathOrInlineDv": z85_encode(serialized)}
        if len(serialized) > INLINE_BYTES:
            place = {"storageType": "u", "pathOrInlineDv": z85_encode(name.bytes), "offset": len(body)}
            body += struct.pack(">i", len(serialized)) + serialized + struct.pack(">I", zlib.crc32(serialized))
        descriptors[path] = {**place, "sizeInBytes": len(serialized), "cardinality": len(bitmap)}
    return descriptors, (_file_name(name), bytes(body)) if len(body) > 1 else None


def decode(descriptor: Descriptor, read_file: Callable[[str], bytes]) -> BitMap64:
    """The row numbers. ``read_file`` takes a path relative to the table. Raises ValueError when the bytes are wrong."""
    size = int(descriptor["sizeInBytes"])
    text = str(descriptor["pathOrInlineDv"])
    match descriptor["storageType"]:
        case "i":
            serialized = z85_decode(text)[:size]
        case "u":
            path = file_of(descriptor)
            assert path is not None
            body = read_file(path)
            start = int(descriptor.get("offset") or 0)
            serialized = body[start + 4 : start + 4 + size]
            (stored_size,) = struct.unpack_from(">i", body, start)
            (checksum,) = struct.unpack_from(">I", body, start + 4 + size)
            if stored_size != size or checksum != zlib.crc32(serialized):
                raise ValueError(f"deletion vector in {path} at {start} is damaged")
        case other:
            raise ValueError(f"deletion vector of storage type {other!r}")
    if serialized[:4] != MAGIC:
        raise ValueError("deletion vector without its magic number")
    bitmap = BitMap64.deserialize(serialized[4:])
    if len(bitmap) != descriptor["cardinality"]:
        raise ValueError("deletion vector with another cardinality than said")
    return bitmap


def file_of(descriptor: Descriptor) -> str | None:
    """The vector file, relative to the table; None for a vector that lies in the log itself."""
    if descriptor["storageType"] != "u":
        return None
    text = str(descriptor["pathOrInlineDv"])
    prefix, encoded = text[:-20], text[-20:]
    name = _file_name(uuid.UUID(bytes=z85_decode(encoded)))
    return f"{prefix}/{name}" if prefix else name


def unique_id(descriptor: Descriptor | None) -> str | None:
    """What tells one vector of a file from another."""
    if descriptor is None:
        return None
    place = f"{descriptor['storageType']}{descriptor['pathOrInlineDv']}"
    offset = descriptor.get("offset")
    return place if offset is None else f"{place}@{offset}"


def z85_encode(body: bytes) -> str:
    """ZeroMQ's base-85 text; padded with zero bytes to a multiple of four, as Delta does."""
    words = np.frombuffer(body + bytes(-len(body) % 4), dtype=">u4").astype(np.uint64)
    digits: bytes = _DIGITS[(words[:, None] // _POWERS) % np.uint64(85)].tobytes()
    return digits.decode()


def z85_decode(text: str) -> bytes:
    digits = _VALUES[np.frombuffer(text.encode(), dtype=np.uint8)].reshape(-1, 5)
    return bytes((digits * _POWERS).sum(axis=1).astype(">u4").tobytes())


def _file_name(name: uuid.UUID) -> str:
    return f"deletion_vector_{name}.bin"
