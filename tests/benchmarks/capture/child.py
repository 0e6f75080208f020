"""One capture in a process of its own: ``python -m tests.benchmarks.capture.child CONFIG UNTIL``.

Prints one JSON object::

rows, transactions   streamed
starting_s           from the process's first line to the open stream: compiling, connecting, opening the lake
durable_s            from the open stream to the changelog durable and confirmed up to UNTIL
durable_cpu_s        this process's CPU time in that stretch
queryable_s          from the open stream to the cut that shows it
peak_bytes           resident memory at its highest
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import cdc.warm_up
import lakehouse.key_hash
from cdc.lsn import Lsn
from pipelines.capture import Capture
from pipelines.config import load
from pipelines.progress import Durable, Progress, Streaming


def main() -> None:
    began = time.monotonic()
    config, until = load(Path(sys.argv[1])), Lsn.parse(sys.argv[2])
    cdc.warm_up.warm_up()
    lakehouse.key_hash.warm_up()
    at: dict[type, tuple[float, float]] = {}

    def tell(event: Progress) -> None:
        now = (time.monotonic(), time.process_time())
        if isinstance(event, Streaming) or (isinstance(event, Durable) and event.lsn >= until):
            at.setdefault(type(event), now)

    report = Capture(config, on_progress=tell).drain(until)
    ended = time.monotonic()
    streaming, durable = at[Streaming], at.get(Durable, (ended, time.process_time()))
    told = {
        "rows": report.rows,
        "transactions": report.transactions,
        "starting_s": streaming[0] - began,
        "durable_s": durable[0] - streaming[0],
        "durable_cpu_s": durable[1] - streaming[1],
        "queryable_s": ended - streaming[0],
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(told))


def peak_bytes() -> int:
    """Linux counts it anew for each program; elsewhere the figure may include what the parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
