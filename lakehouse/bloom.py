"""Asking a column's Bloom filter in a Parquet file about one value: 32 bytes are read, however large the file.

pyarrow writes these filters and tells where they lie, but can't be asked. Source: the split block filter in
BloomFilter.md of the Parquet format.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import xxhash

_BLOCK_BYTES = 32
_LONGEST_HEADER = 32
_SALT = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)
# After the length, the header says: split block, XXH64, not compressed. The format knows nothing else.
_KNOWN_KIND = b"\x1c\x1c\x00\x00" * 3 + b"\x00"


@dataclass(frozen=True, slots=True)
class BloomFilter:
    """Where one lies in its file."""

    offset: int  # of its first block
    blocks: int


def filter_at(file: int, offset: int) -> BloomFilter | None:
    """The filter whose header is at ``offset`` of the file that is open as ``file``; None for a kind we don't know."""
    header = os.pread(file, _LONGEST_HEADER, offset)
    if header[:1] != b"\x15":  # field 1, an integer: the length of what follows the header
        return None
    length, shift, at = 0, 0, 1
    while at < len(header):
        length |= (header[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if header[at - 1] < 0x80:
            break
    length >>= 1  # zigzag, and never negative
    if header[at : at + len(_KNOWN_KIND)] != _KNOWN_KIND or length % _BLOCK_BYTES:
        return None
    return BloomFilter(offset + at + len(_KNOWN_KIND), length // _BLOCK_BYTES)


def hash_of(plain: bytes) -> int:
    """Of a value as Parquet's plain encoding writes it; of text without its length."""
    return xxhash.xxh64_intdigest(plain)


def may_hold(file: int, bloom: BloomFilter, hashed: int) -> bool:
    """False where no value with this hash is in the column."""
    block = ((hashed >> 32) * bloom.blocks) >> 32
    words = os.pread(file, _BLOCK_BYTES, bloom.offset + block * _BLOCK_BYTES)
    if len(words) < _BLOCK_BYTES:
        return True  # a file that was cut off: reading it will say so
    low = hashed & 0xFFFFFFFF
    bits = (((low * salt) & 0xFFFFFFFF) >> 27 for salt in _SALT)
    return all(word >> bit & 1 for word, bit in zip(struct.unpack("<8I", words), bits, strict=True))
