"""One transaction that no memory should hold: what the capture process takes for it, and how long after its commit."""

from __future__ import annotations

import time

import psycopg

from cdc.lsn import Lsn
from cdc.slot import current_position, let_log_pass
from tests.benchmarks.capture.bench import PATIENCE_S, ROWS, Bench, Figure

_GOAL_BYTES = 1 << 30
_GOAL_S = 30.0
_BEHIND_BYTES = 64 << 20
_CALM_S = 3.0  # so long without another byte sent ahead: the server has nothing left to send


def large(bench: Bench) -> list[Figure]:
    """Ten times as many rows in one transaction, captured while it runs."""
    dsn, rows = bench.database("large"), 10 * bench.rows
    config = bench.lake(dsn)
    bench.copied(dsn, config)
    with psycopg.connect(dsn) as connection:
        connection.execute(f"INSERT INTO wide {ROWS.format(first=1, last=rows)}")  # type: ignore[arg-type]
        # Behind all that the transaction may still write: nothing else would keep capture waiting for its commit.
        until = Lsn(current_position(dsn).value + _BEHIND_BYTES)
        child = bench.draining(config, until)
        _wait_until_sent_ahead(dsn)
        connection.commit()
        committed_at = time.time()
    let_log_pass(dsn, until)
    ours = bench.told(child)
    details = {
        "rows": ours["rows"],
        "peak_MiB": ours["peak_bytes"] >> 20,
        "started_MiB": ours["started_bytes"] >> 20,
        "cpu_s_per_million": ours["durable_cpu_s"] / ours["rows"] * 1e6,
    }
    after_s = ours["durable_at"] - committed_at
    return [
        Figure("large", "peak memory / 1 GiB", ours["peak_bytes"] / _GOAL_BYTES, 1.0, details, is_cost=True),
        Figure("large", "from commit to durable / 30 s", after_s / _GOAL_S, 1.0, {"seconds": after_s}, is_cost=True),
    ]


def _wait_until_sent_ahead(dsn: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    sent, since = 0, time.monotonic()
    with psycopg.connect(dsn, autocommit=True) as connection:
        while time.monotonic() - since < _CALM_S or not sent:
            if time.monotonic() > deadline:
                raise RuntimeError("the server didn't send the transaction ahead")
            row = connection.execute("SELECT sum(stream_bytes)::int8 FROM pg_stat_replication_slots").fetchone()
            now = int(row[0] or 0) if row else 0
            if now != sent:
                sent, since = now, time.monotonic()
            time.sleep(0.2)
