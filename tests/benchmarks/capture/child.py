"""One capture in a process of its own: ``python -m tests.benchmarks.capture.child CONFIG UNTIL``.

Prints one JSON object::

rows, transactions   streamed
starting_s           from the process's first line to the open stream: compiling, connecting, opening the lake
copied_s             from the open stream to the last table's copy in the changelog; copied_bytes: peak_bytes by then
durable_s            from the open stream to the changelog durable and confirmed up to UNTIL
durable_cpu_s        this process's CPU time in that stretch
queryable_cpu_s      this process's CPU time up to that cut
queryable_s          from the open stream to the cut that shows it
peak_bytes           resident memory at its highest; started_bytes when the stream was opened, before anything came
durable_at           by the machine's clock
steps                [end LSN, clock, resident bytes] of each batch with rows, when it was durable

SIGTERM ends it before UNTIL.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cdc.warm_up
import lakehouse.key_hash
from cdc.lsn import Lsn
from pipelines.capture import Capture
from pipelines.config import load
from pipelines.progress import Copied, Durable, Progress, Streaming


@dataclass(frozen=True)
class Moment:
    at_s: float
    cpu_s: float
    clock_s: float
    peak_bytes: int
    lsn: Lsn

    @classmethod
    def now(cls, lsn: Lsn) -> Moment:
        return cls(time.monotonic(), time.process_time(), time.time(), peak_bytes(), lsn)


def main() -> None:
    began = time.monotonic()
    config, until = load(Path(sys.argv[1])), Lsn.parse(sys.argv[2])
    cdc.warm_up.warm_up()
    lakehouse.key_hash.warm_up()
    streaming: Moment | None = None
    copied: Moment | None = None  # the last table
    steps: list[tuple[int, float, int]] = []
    durable: Moment | None = None  # when changes up to UNTIL were, or the last before it

    def tell(event: Progress) -> None:
        nonlocal streaming, durable, copied
        if isinstance(event, Streaming):
            streaming = streaming or Moment.now(event.from_lsn)
        elif isinstance(event, Copied):
            copied = Moment.now(event.snapshot_lsn)
        elif isinstance(event, Durable):
            steps.append((event.lsn.value, time.time(), status_bytes("VmRSS")))
            if durable is None or durable.lsn < until:
                durable = Moment.now(event.lsn)

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    report = Capture(config, on_progress=tell).drain(until, stop)
    ended = Moment.now(until)
    assert streaming is not None
    durable, copied = durable or ended, copied or streaming
    told = {
        "rows": report.rows,
        "transactions": report.transactions,
        "starting_s": streaming.at_s - began,
        "copied_s": copied.at_s - streaming.at_s,
        "copied_cpu_s": copied.cpu_s - streaming.cpu_s,
        "copied_bytes": copied.peak_bytes,
        "durable_s": durable.at_s - streaming.at_s,
        "durable_cpu_s": durable.cpu_s - streaming.cpu_s,
        "queryable_cpu_s": ended.cpu_s - streaming.cpu_s,
        "queryable_s": ended.at_s - streaming.at_s,
        "peak_bytes": peak_bytes(),
        "started_bytes": streaming.peak_bytes,
        "durable_at": durable.clock_s,
        "steps": steps,
    }
    print(json.dumps(told))


def peak_bytes() -> int:
    return status_bytes("VmHWM")


def status_bytes(line: str) -> int:
    """Linux counts it anew for each program; elsewhere it is the peak, and may include what the parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        (found,) = [one for one in status.read_text().splitlines() if one.startswith(line)]
        return int(found.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
