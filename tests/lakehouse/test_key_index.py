from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.key_hash import Hashes, hash_rows
from lakehouse.key_index import KeyIndex


def hashes(keys: list[int]) -> Hashes:
    return hash_rows([pa.array(keys, pa.int64())], len(keys))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_index_finds_what_a_plain_list_finds_oldest_first(data: st.DataObject) -> None:
    index = KeyIndex()
    plain: list[tuple[int, int, int]] = []  # key, file, row: oldest first
    for file in range(data.draw(st.integers(1, 12), label="batches")):
        wanted = data.draw(st.dictionaries(st.integers(0, 9), st.integers(1, 3), max_size=5), label="wanted")
        added = data.draw(st.lists(st.integers(0, 9), max_size=20), label="added")

        located = index.locate(hashes(list(wanted)), np.array(list(wanted.values()), dtype=np.int64))

        expected = [
            (key, *place)
            for key, at_most in wanted.items()
            for place in [(f, r) for k, f, r in plain if k == key][:at_most]
        ]
        keys = list(wanted)
        assert list(zip([keys[a] for a in located.asked], located.file, located.row, strict=True)) == expected
        index.forget(located)
        plain = [place for place in plain if place not in expected]
        index.add(hashes(added), file, np.arange(len(added)))
        plain += [(key, file, row) for row, key in enumerate(added)]
    assert len(index) == len(plain)


def test_a_million_keys_take_no_more_than_25_bytes_each() -> None:
    index = KeyIndex()
    keys = pa.array(np.arange(1_000_000))

    index.add(hash_rows([keys], len(keys)), 0, np.arange(len(keys)))

    (run,) = index._runs
    assert sum(column.nbytes for column in (run.high, run.low, run.file, run.row, run.alive)) <= 25_000_000
