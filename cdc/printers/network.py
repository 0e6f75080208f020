"""Network and MAC addresses. Source: network_out, cidr_out and inet_net_ntop.c of PostgreSQL."""

from __future__ import annotations

import struct

_IPV4_BYTES = 4


def inet(value: bytes) -> str:
    bits, address = value[1], value[4:]
    return _address(address) if bits == 8 * len(address) else f"{_address(address)}/{bits}"


def cidr(value: bytes) -> str:
    return f"{_address(value[4:])}/{value[1]}"


def mac(value: bytes) -> str:
    return value.hex(":")


def _address(address: bytes) -> str:
    if len(address) == _IPV4_BYTES:
        return ".".join(map(str, address))
    words = struct.unpack(">8H", address)
    start, length = _longest_zeroes(words)
    if start == 0 and (length == 6 or (length == 7 and words[7] != 1) or (length == 5 and words[5] == 0xFFFF)):
        head = "::" if length >= 6 else "::ffff:"
        return head + ".".join(map(str, address[12:]))
    if length < 2:
        return ":".join(f"{word:x}" for word in words)
    before = ":".join(f"{word:x}" for word in words[:start])
    behind = ":".join(f"{word:x}" for word in words[start + length :])
    return f"{before}::{behind}"


def _longest_zeroes(words: tuple[int, ...]) -> tuple[int, int]:
    """Where the first of the longest runs of zero words starts, and how long it is."""
    best, at = (0, 0), 0
    while at < len(words):
        end = at
        while end < len(words) and words[end] == 0:
            end += 1
        if end - at > best[1]:
            best = (at, end - at)
        at = end + 1
    return best
