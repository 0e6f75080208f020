from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from lakehouse.deletion_vector import decode, encode, z85_decode, z85_encode
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.readers import READERS
from tests.lakehouse.source import USERS, Source, delete


@given(st.binary(max_size=100))
def test_z85_says_its_bytes_back_padded_to_four(body: bytes) -> None:
    assert z85_decode(z85_encode(body)) == body + bytes(-len(body) % 4)


def test_small_vectors_live_in_the_commit_and_large_ones_share_a_file() -> None:
    small, large = BitMap64([0, 7]), BitMap64(range(0, 200_000, 3))
    rows = {"a": small, "b": large, "c": BitMap64(range(1, 100_000, 5))}

    descriptors, file = encode(rows)

    assert file is not None
    assert [descriptors[path]["storageType"] for path in rows] == ["i", "u", "u"]
    for path, bitmap in rows.items():
        assert decode(descriptors[path], {file[0]: file[1]}.__getitem__) == bitmap


def test_a_damaged_vector_file_is_noticed() -> None:
    descriptors, file = encode({"a": BitMap64(range(0, 200_000, 3))})
    assert file is not None
    damaged = bytearray(file[1])
    damaged[100] ^= 1

    with pytest.raises(ValueError, match="damaged"):
        decode(descriptors["a"], lambda path: bytes(damaged))


def test_every_reader_takes_a_vector_file(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(USERS, [{"id": n} for n in range(20_000)]))
    for ids in (range(0), range(0, 20_000, 7)):
        source.commit(*(delete(USERS, id=n) for n in ids))
        batch = source.batch()
        writer.append(batch)
        writer.advance(batch.end_lsn.before(), batch.source_time)

    uri = local_root.uri("current", USERS.name)
    left = [n for n in range(20_000) if n % 7]
    assert any(name.startswith("deletion_vector_") for name in local_root.store().names("current/public/users"))
    for read in READERS:
        assert sorted(read(local_root, uri, None)["id"].to_pylist()) == left, read.__name__
