"""Whether a commit costs more the more there were before it: the lake alone, without a source in front of it."""

from __future__ import annotations

import time

import numpy as np

from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.benchmarks.capture.bench import Bench, Figure
from tests.lakehouse.source import USERS, Source, insert

_COMPARED = 100
_CUT_EVERY = 10


def commits(bench: Bench) -> list[Figure]:
    """10,000 batches of one row at a million rows, a cut for every tenth."""
    count = max(3 * _COMPARED, bench.rows // 100)
    root = LakeRoot(str(bench.folder / "commits"))
    source, writer = Source(), LakeWriter.open(root, "bench")
    writer.append_copy(source.copy(USERS, []))
    took_s = []
    for number in range(_COMPARED + count):  # as many again first, for all that is made once
        source.commit(insert(USERS, id=number, name="n", bio="b"))
        batch = source.batch()
        began = time.monotonic()
        writer.append(batch)
        if number % _CUT_EVERY == 0:
            writer.advance(batch.end_lsn.before(), batch.source_time)
        took_s.append(time.monotonic() - began)
    writer.close()
    first, last = (float(np.mean(part)) for part in (took_s[_COMPARED : 2 * _COMPARED], took_s[-_COMPARED:]))
    details = {"commits": count, "first_ms": first * 1e3, "last_ms": last * 1e3}
    return [Figure("commits", "last 100 / first 100", last / first, 1.5, details, is_cost=True)]
