"""SipHash-2-4 over the rows of a column, compiled by Numba.

Apart from `lakehouse.key_hash`, because Numba takes half a second to import and most questions hash no key: whoever
needs these imports them when the need arises.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, inline="always")
def _rotated(word: Any, left: Any) -> Any:
    return (word << np.uint64(left)) | (word >> np.uint64(64 - left))


@numba.njit(nogil=True, cache=True)
def _rounds(state: Any, times: Any) -> None:
    a, b, c, d = state[0], state[1], state[2], state[3]
    for _ in range(times):
        a += b
        b = _rotated(b, 13) ^ a
        a = _rotated(a, 32)
        c += d
        d = _rotated(d, 16) ^ c
        a += d
        d = _rotated(d, 21) ^ a
        c += b
        b = _rotated(b, 17) ^ c
        c = _rotated(c, 32)
    state[0], state[1], state[2], state[3] = a, b, c, d


@numba.njit(nogil=True, cache=True)
def _take(state: Any, word: Any) -> None:
    state[3] ^= word
    _rounds(state, 2)
    state[0] ^= word


@numba.njit(nogil=True, cache=True)
def begin(states: Any, secret: Any) -> None:
    for row in range(states.shape[0]):
        states[row, 0] = secret[0] ^ np.uint64(0x736F6D6570736575)
        states[row, 1] = secret[1] ^ np.uint64(0x646F72616E646F6D) ^ np.uint64(0xEE)
        states[row, 2] = secret[0] ^ np.uint64(0x6C7967656E657261)
        states[row, 3] = secret[1] ^ np.uint64(0x7465646279746573)


@numba.njit(nogil=True, cache=True)
def finish(states: Any) -> Any:
    hashes = np.empty((states.shape[0], 2), dtype=np.uint64)
    for row in range(states.shape[0]):
        state = states[row]
        state[2] ^= np.uint64(0xEE)
        _rounds(state, 4)
        hashes[row, 0] = state[0] ^ state[1] ^ state[2] ^ state[3]
        state[1] ^= np.uint64(0xDD)
        _rounds(state, 4)
        hashes[row, 1] = state[0] ^ state[1] ^ state[2] ^ state[3]
    return hashes


@numba.njit(nogil=True, cache=True)
def absorb_words(states: Any, valid: Any, words: Any) -> None:
    for row in range(states.shape[0]):
        _take(states[row], np.uint64(valid[row]))
        if valid[row]:
            for word in words[row]:
                _take(states[row], word)


@numba.njit(nogil=True, cache=True)
def absorb_bytes(states: Any, valid: Any, offsets: Any, body: Any) -> None:
    for row in range(states.shape[0]):
        _take(states[row], np.uint64(valid[row]))
        if valid[row]:
            # The length first: without it, "a" and "a\0" would end in the same padded word.
            _take(states[row], np.uint64(offsets[row + 1] - offsets[row]))
            word, shift = np.uint64(0), np.uint64(0)
            for position in range(offsets[row], offsets[row + 1]):
                word |= np.uint64(body[position]) << shift
                shift += np.uint64(8)
                if shift == np.uint64(64):
                    _take(states[row], word)
                    word, shift = np.uint64(0), np.uint64(0)
            if shift:
                _take(states[row], word)


@numba.njit(nogil=True, cache=True)
def absorb_lists(states: Any, valid: Any, offsets: Any, members: Any) -> None:
    for row in range(states.shape[0]):
        _take(states[row], np.uint64(valid[row]))
        if valid[row]:
            _take(states[row], np.uint64(offsets[row + 1] - offsets[row]))
            for position in range(offsets[row], offsets[row + 1]):
                _take(states[row], members[position, 0])
                _take(states[row], members[position, 1])
