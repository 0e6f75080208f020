"""A filter and a list of columns reach the files: what a look-up by key reads, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cdc.lsn import Lsn
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.bulk import BulkSource
from tests.lakehouse.source import relation

COUNT = 400_000
NOTES = relation("public.notes", {"id": pa.int64(), "kind": pa.string(), "body": pa.string()}, key=["id"])


def notes(ids: np.ndarray[tuple[int], np.dtype[np.int64]], seed: int) -> pa.Table:
    body = np.random.default_rng(seed).integers(0, 2**62, len(ids))
    texts = pa.array(ids), pa.array(ids % 7).cast(pa.string()), pa.array(body).cast(pa.string())
    return pa.table(texts, schema=pa.schema([("id", pa.int64()), ("kind", pa.string()), ("body", pa.string())]))


@pytest.fixture(scope="module")
def between_cuts(tmp_path_factory: pytest.TempPathFactory) -> tuple[LakeRoot, str, Lsn]:
    """A lake, a cut, and a commit after it: rows in random order, then changes at random places."""
    root = LakeRoot(str(tmp_path_factory.mktemp("pushdown") / "lake"))
    source, writer = BulkSource(), LakeWriter.open(root, "main")
    random = np.random.default_rng(3)
    writer.append_copy(source.copy(NOTES, notes(random.permutation(COUNT).astype(np.int64), 1)))
    source.cut(writer)
    source.commit(NOTES, "update", notes(random.choice(COUNT, 20_000, replace=False).astype(np.int64), 2))
    cut = source.cut(writer)
    source.commit(NOTES, "update", notes(random.choice(COUNT, 5_000, replace=False).astype(np.int64), 3))
    middle = Lsn(source.position)
    source.commit(NOTES, "update", notes(np.arange(1_000, dtype=np.int64), 4))
    source.cut(writer)
    writer.close()
    return root, str(cut.cut_lsn), middle


def bytes_read(lake: Lake, query: str, at: str) -> int:
    """By this process, while it answers; not those that it has in memory from before."""

    def so_far() -> int:
        return int(Path("/proc/self/io").read_text().split("\n", 1)[0].split()[1])

    before = so_far()
    lake.sql(query, at=at)
    return so_far() - before


@pytest.mark.parametrize("moment", ["at a cut", "between two cuts"])
def test_a_look_up_by_key_reads_a_small_part_of_the_table(between_cuts: tuple[LakeRoot, str, Lsn], moment: str) -> None:
    root, cut, middle = between_cuts
    lake, at = Lake.open(root), cut if moment == "at a cut" else str(middle)
    stored = sum(path.stat().st_size for path in Path(root.uri("current", NOTES.name)).glob("*.parquet"))
    lake.sql("SELECT kind FROM public.notes WHERE id = -1", at=at)  # what is made once for the moment

    look_up = bytes_read(lake, f"SELECT * FROM public.notes WHERE id = {COUNT // 2}", at)
    one_column = bytes_read(lake, "SELECT max(kind) FROM public.notes", at)
    every_column = bytes_read(lake, "SELECT max(kind), max(body), max(id) FROM public.notes", at)

    assert look_up * 3 < stored
    assert one_column * 3 < every_column


def test_a_moment_between_two_cuts_costs_its_tail_once(between_cuts: tuple[LakeRoot, str, Lsn]) -> None:
    root, _, middle = between_cuts
    lake, at = Lake.open(root), str(middle)
    query = "SELECT count(DISTINCT body) FROM public.notes WHERE id < 10"

    first, again = bytes_read(lake, query, at), bytes_read(lake, query, at)

    assert again * 10 < first
