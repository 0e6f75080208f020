"""Random changes of a large table: what a cut costs beside ``DeltaTable.merge``, in time, bytes and memory."""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable, write_deltalake

from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.benchmarks.lake.bench import Figure, alone, bytes_below, forget_peak, peak_bytes, resident_bytes, timed
from tests.benchmarks.lake.wide import WIDE, all_rows, copied, random_ids, rows_of
from tests.lakehouse.bulk import BulkSource

ROUNDS = (10_000, 10_000, 100_000)  # the first warms both: it makes the key index, and fills the page cache
TIME = {10_000: 1 / 8, 100_000: 1 / 6}
BYTES = {10_000: 1 / 100, 100_000: 1 / 30}
MEMORY_BYTES = 1.5 * (1 << 30)

Cost = tuple[float, int]  # seconds, bytes written


def changes(folder: Path, count: int) -> list[Figure]:
    """Updates at random places among ``count`` rows, all columns changed."""
    source = alone(copied, LakeRoot(str(folder / "lake")), count)
    alone(_peer, folder, count)
    ours, appends, peak = alone(_ours, folder, count, source)
    theirs = alone(_theirs, folder, count)
    first = ours[0][0]
    figures = [
        Figure(
            "peak memory of cuts above the open table, against 1.5 GiB",
            peak / MEMORY_BYTES,
            1,
            f"{peak / 2**20:,.0f} MiB; the first cut after a start, with the key index to be made: {first:.1f} s",
        )
    ]
    for size, (our_s, our_bytes), append_s, (their_s, their_bytes) in list(
        zip(ROUNDS, ours, appends, theirs, strict=True)
    )[1:]:
        seconds = f"{our_s:.2f} s (and {append_s:.2f} s for the changelog) against {their_s:.2f} s"
        figures.append(Figure(f"{size:,} changes, seconds of a cut / merge", our_s / their_s, TIME[size], seconds))
        written = f"{our_bytes:,} against {their_bytes:,}"
        figures.append(
            Figure(f"{size:,} changes, bytes of a cut / merge", our_bytes / their_bytes, BYTES[size], written)
        )
    return figures


def _ours(folder: Path, count: int, source: BulkSource) -> tuple[list[Cost], list[float], int]:
    root = LakeRoot(str(folder / "lake"))
    writer = LakeWriter.open(root, "main")
    before_bytes = resident_bytes()
    forget_peak()
    costs, appends = [], []
    for number, size in enumerate(ROUNDS):
        source.commit(WIDE, "update", rows_of(random_ids(size, count, 10 + number), 20 + number))
        batch = source.batch()
        appends.append(timed(lambda: writer.append(batch))[1])  # noqa: B023
        stored = bytes_below(root.uri("current", WIDE.name))
        _, seconds = timed(lambda: writer.advance(batch.end_lsn.before(), batch.source_time))  # noqa: B023
        costs.append((seconds, bytes_below(root.uri("current", WIDE.name)) - stored))
    return costs, appends, peak_bytes() - before_bytes


def _peer(folder: Path, count: int) -> None:
    write_deltalake(str(folder / "peer"), all_rows(count))


def _theirs(folder: Path, count: int) -> list[Cost]:
    uri, costs = str(folder / "peer"), []
    for number, size in enumerate(ROUNDS):
        rows = rows_of(random_ids(size, count, 10 + number), 20 + number)
        table, stored = DeltaTable(uri), bytes_below(uri)
        merge = (
            table.merge(rows, "t.id = s.id", source_alias="s", target_alias="t")
            .when_matched_update_all()
            .when_not_matched_insert_all()
        )
        _, seconds = timed(merge.execute)
        costs.append((seconds, bytes_below(uri) - stored))
    return costs
