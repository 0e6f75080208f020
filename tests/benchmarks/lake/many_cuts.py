"""A lake of ten thousand cuts beside one of a hundred: opening it and asking as of a random cut."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from cdc.lsn import Lsn
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.benchmarks.lake.bench import Figure, alone, median_s
from tests.benchmarks.lake.wide import WIDE, copied, rows_of
from tests.lakehouse.bulk import BulkSource

ROWS = 100_000  # of the table; a cut changes ten of them
FEW = 100
COMPACT_EVERY = 100
AGGREGATE = "SELECT kind, count(*), sum(amount::DECIMAL(18, 2)) FROM public.wide GROUP BY kind"
AGAINST_FEW = 2.0


def many_cuts(folder: Path, count: int) -> list[Figure]:
    """``count`` says how many cuts the larger lake has, a thousandth of it; at least as many as the smaller one."""
    many = max(FEW, count // 1_000)
    seconds = {}
    for number in (FEW, many):
        root = LakeRoot(str(folder / f"lake-{number}"))
        lsns = alone(_cut, root, number)
        seconds[number] = alone(_asked, root, lsns)
    told = f"{seconds[many] * 1e3:.0f} ms against {seconds[FEW] * 1e3:.0f} ms"
    name = f"opened and asked as of a random cut, {many:,} cuts / {FEW} cuts"
    return [Figure(name, seconds[many] / seconds[FEW], AGAINST_FEW, told)]


def _cut(root: LakeRoot, cuts: int) -> list[Lsn]:
    source: BulkSource = copied(root, ROWS)
    writer, lsns = LakeWriter.open(root, "main"), []
    chosen = np.random.default_rng(7)
    for number in range(cuts):
        ids = chosen.choice(ROWS, 10, replace=False).astype(np.int64)
        source.commit(WIDE, "update", rows_of(ids, number))
        lsns.append(source.cut(writer).cut_lsn)
        if number % COMPACT_EVERY == COMPACT_EVERY - 1:
            writer.compact()
    writer.close()
    return lsns


def _asked(root: LakeRoot, lsns: list[Lsn]) -> float:
    """Opened anew for each question."""
    chosen = random.Random(5)
    return median_s(lambda: Lake.open(root).sql(AGGREGATE, at=chosen.choice(lsns)), 15)
