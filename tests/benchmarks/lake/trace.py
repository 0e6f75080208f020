"""One row's whole life among twenty million changes: half of them a copy, the rest at random places, in 200 batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.benchmarks.lake.bench import Figure, alone, median_s
from tests.benchmarks.lake.wide import WIDE, copied, random_ids, rows_of
from tests.lakehouse.bulk import BulkSource

BATCHES = 200
GOAL_S = 0.1


def trace(folder: Path, count: int) -> list[Figure]:
    """As many changes as rows, behind a copy of all of them; no cut in between."""
    root = LakeRoot(str(folder / "lake"))
    source = alone(copied, root, count)
    alone(_changed, root, count, source)
    return [alone(_traced, root, count)]


def _changed(root: LakeRoot, count: int, source: BulkSource) -> None:
    writer = LakeWriter.open(root, "main")
    for number in range(BATCHES):
        rows = rows_of(random_ids(count // BATCHES, count, 500 + number), 500 + number)
        source.commit(WIDE, "update", rows, transactions=50)
        writer.append(source.batch())
    writer.close()


def _traced(root: LakeRoot, count: int) -> Figure:
    lake = Lake.open(root)
    ids = iter(np.random.default_rng(5).integers(0, count, 1_000).tolist())
    found: list[int] = []
    seconds = median_s(lambda: found.append(len(lake.trace(WIDE.name, str(next(ids))))), 15)
    told = f"{seconds * 1e3:.0f} ms; {min(found)} to {max(found)} changes of one row"
    return Figure(f"one life among {2 * count:,} changes, against {GOAL_S * 1e3:.0f} ms", seconds / GOAL_S, 1, told)
