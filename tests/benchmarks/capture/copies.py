"""A table's copy with two workers, by what two plain ``COPY … (FORMAT binary)`` of its halves need side by side."""

from __future__ import annotations

import subprocess
import time

from cdc.slot import beat
from tests.benchmarks.capture.bench import PATIENCE_S, ROWS, Bench, Figure

_PIECES = 10


def copy(bench: Bench) -> list[Figure]:
    """Five times as many rows as the other measurements have changes."""
    rows = 5 * bench.rows
    dsn = bench.database("copy")
    size = rows // _PIECES
    for piece in range(_PIECES):
        bench.execute(dsn, f"INSERT INTO wide {ROWS.format(first=piece * size + 1, last=(piece + 1) * size)}")
    # As in a database that has been running: no first reader pays for hint bits, and nothing is flushed meanwhile.
    bench.execute(dsn, "VACUUM (FREEZE, ANALYZE) wide", "CHECKPOINT")
    _raw_seconds(bench, dsn)
    peer_s = _raw_seconds(bench, dsn)
    ours = bench.drain(bench.lake(dsn, copy_workers=2), beat(dsn))
    figure = Figure(
        "copy",
        "two raw COPYs / copy with two workers",
        peer_s / ours["copied_s"],
        0.5,
        {
            "rows": rows,
            "peer_s": peer_s,
            "copied_s": ours["copied_s"],
            "cpu_s_per_million": ours["copied_cpu_s"] / rows * 1e6,
            "peak_MiB": ours["copied_bytes"] >> 20,
            "peak_with_cut_MiB": ours["peak_bytes"] >> 20,
        },
    )
    return [figure]


def _raw_seconds(bench: Bench, dsn: str) -> float:
    middle = "(SELECT format('(%s,0)', pg_relation_size('wide') / 16384)::tid)"
    copies = [f"COPY (SELECT * FROM wide WHERE ctid {half} {middle}) TO STDOUT (FORMAT binary)" for half in ("<", ">=")]
    began = time.monotonic()
    running = [
        subprocess.Popen(
            [str(bench.server.binaries.program("psql")), "-X", "-q", "-d", dsn, "-c", one], stdout=subprocess.DEVNULL
        )
        for one in copies
    ]
    assert [one.wait(PATIENCE_S) for one in running] == [0, 0]
    return time.monotonic() - began
