"""2,000 transactions a second: how long a commit takes to become durable, on disk and on a stand-in for S3."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import numpy as np
from deltalake import DeltaTable

from cdc.lsn import Lsn
from infra.object_store import S3Server
from pipelines.config import load
from tests.benchmarks.capture.bench import ROWS, Bench, Figure

_PER_SECOND = 2_000
_GOAL_S = 2.0
_FLAT = 1.15  # memory that grows no more; in a run of some seconds it still does
_BEYOND = Lsn((1 << 63) - 1)


def on_disk(bench: Bench) -> list[Figure]:
    return _steady(bench, "steady", None)


def on_s3(bench: Bench) -> list[Figure]:
    with S3Server.start(bench.state) as endpoint:
        endpoint.create_bucket("steady")
        return _steady(bench, "steady_s3", endpoint)


def _steady(bench: Bench, name: str, endpoint: S3Server | None) -> list[Figure]:
    """For five minutes at a million rows, for less in proportion."""
    transactions = max(10, 300 * bench.rows // 1_000_000) * _PER_SECOND
    dsn = bench.database(name)
    config = bench.lake(dsn, **({} if endpoint is None else {"url": "s3://steady", "endpoint": endpoint.endpoint}))
    environment = {} if endpoint is None else {k: v for k, v in endpoint.options.items() if "KEY" in k}
    bench.copied(dsn, config, environment=environment)
    child = bench.draining(config, _BEYOND, environment=environment)
    time.sleep(5)  # until it follows
    began = time.monotonic()
    bench.execute(dsn, _paced(transactions), waits_for_log=True)
    seconds = time.monotonic() - began
    time.sleep(5)
    child.send_signal(signal.SIGTERM)
    ours = bench.told(child)

    root = load(config).lake_root()
    if endpoint is not None:
        root = replace(root, options=endpoint.options)
    stored = DeltaTable(root.uri_of("transactions"), storage_options=root.storage_options)
    told = stored.to_pyarrow_table(columns=["commit_lsn", "committed_at"])
    commits = np.asarray(told["commit_lsn"])
    committed_s = np.asarray(told["committed_at"]).astype("datetime64[us]").astype(np.int64) / 1e6
    ends, durable_s, resident = (np.array(column) for column in zip(*ours["steps"], strict=True))
    lag_s = durable_s[np.searchsorted(ends, commits, side="right")] - committed_s
    p50, p99 = np.percentile(lag_s, [50, 99])
    halfway, at_the_end = int(resident[len(resident) // 2]), int(resident[-1])
    details = {
        "transactions": len(lag_s),
        "per_second": len(lag_s) / seconds,
        "p50_s": float(p50),
        "p99_s": float(p99),
        "cpu_s_per_million": ours["durable_cpu_s"] / ours["rows"] * 1e6,
    }
    memory = {"halfway_MiB": halfway >> 20, "at_the_end_MiB": at_the_end >> 20}
    return [
        Figure(name, "p99 from commit to durable / 2 s", float(p99) / _GOAL_S, 1.0, details, is_cost=True),
        Figure(name, "resident at the end / halfway", at_the_end / halfway, _FLAT, memory, is_cost=True),
    ]


def _paced(transactions: int) -> str:
    """One row each, from one session, twenty at a time so that their pace holds."""
    row = ROWS.format(first="n", last="n")
    return f"""DO $$ DECLARE began timestamptz := clock_timestamp(); BEGIN FOR n IN 1 .. {transactions} LOOP
        INSERT INTO wide {row}; COMMIT;
        IF n % 20 = 0 THEN
            PERFORM pg_sleep(greatest(0, n / {_PER_SECOND}.0 - extract(epoch FROM clock_timestamp() - began)));
        END IF;
    END LOOP; END $$"""
