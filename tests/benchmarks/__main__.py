"""``make bench``: what capture costs beside the fastest client that everyone has, ``pg_recvlogical -f /dev/null``.

Both read the same changes from slots made at the same moment, in turn, on the same server. Prints one line per run.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from cdc.slot import beat, ensure_slot
from infra.postgres import Postgres
from infra.state import StateFolder
from pipelines.capture import Capture
from pipelines.config import from_settings

TABLE = """
CREATE TABLE wide (
    id bigint PRIMARY KEY, i2 smallint, i4 int, b bool, f float8, n numeric(12,2), big numeric, t text, v varchar(20),
    at timestamptz, d date, u uuid, j jsonb, raw bytea)
"""
INSERT = """
INSERT INTO wide SELECT i, i %% 100, i %% 7, i %% 2 = 0, i / 3.0, i * 1.25, i / 3.0, 'name ' || i, 'y' || i,
    now() - i * interval '1 min', current_date - i %% 1000, gen_random_uuid(), jsonb_build_object('a', i), '\\xdead'
FROM generate_series(%s::int, %s::int) i
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{platform.platform()}, {os.cpu_count()} cores; {arguments.rows} inserts of 14 columns, one transaction a run"
    )
    with tempfile.TemporaryDirectory(prefix="rireki-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        with StateFolder(path / "state") as state, Postgres.start(state, durable=False) as server:
            server.create_database("bench")
            ratios = [run(server, path, number, arguments.rows) for number in range(arguments.runs + 1)][1:]
    median = sorted(ratios)[len(ratios) // 2]
    print(f"capture / pg_recvlogical, rows/s, median of {len(ratios)} after a warm-up: {median:.2f}")


def run(server: Postgres, folder: Path, number: int, rows: int) -> float:
    dsn = server.dsn("bench")
    stream = f"run{number}"
    config = from_settings(
        {
            "source": {"dsn": dsn},
            "stream": {"name": stream, "publication": "bench"},
            "lake": {"url": str(folder / stream)},
        },
        file=folder / "rireki.toml",
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        if number == 0:
            connection.execute(TABLE)
            connection.execute("CREATE PUBLICATION bench FOR TABLE wide")
        connection.execute("TRUNCATE wide")
        ensure_slot(dsn, f"peer{number}")
        Capture(config).drain(beat(dsn))  # the copy, of nothing: only the stream is measured
        connection.execute(INSERT, (1, rows))
        end = beat(dsn)
        peer_s = receive_and_throw_away(server, dsn, f"peer{number}", str(end))
        began, cpu = time.monotonic(), time.process_time()
        report = Capture(config).drain(end)
        ours_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
        for slot in (stream, f"peer{number}"):
            drop_when_free(connection, slot)
    assert report.rows == rows, f"{report.rows} rows came, {rows} were written"
    print(
        f"run {number}: pg_recvlogical {peer_s:.2f} s; captured, durable and queryable in {ours_s:.2f} s"
        f" ({rows / ours_s:,.0f} rows/s, {cpu_s / rows * 1e6:.1f} CPU s per million); ratio {peer_s / ours_s:.2f}"
    )
    return peer_s / ours_s


def drop_when_free(connection: psycopg.Connection[tuple[object, ...]], slot: str) -> None:
    """A walsender needs a moment to notice that its client has gone."""
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    while connection.execute(active, (slot,)).fetchone() == (True,):
        time.sleep(0.1)
    connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def receive_and_throw_away(server: Postgres, dsn: str, slot: str, end: str) -> float:
    command = [
        *(str(server.binaries.program("pg_recvlogical")), "-d", dsn, "-S", slot, "--start", "-f", "/dev/null"),
        *("-o", "proto_version=1", "-o", "publication_names=bench", "-o", "binary=true", "-o", "messages=true"),
        *("--endpos", end, "--no-loop"),
    ]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
