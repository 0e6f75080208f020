"""Which measurements there are; runs them one after the other on one server."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from infra.postgres import Postgres
from infra.state import StateFolder
from tests.benchmarks.capture import changes, commits, copies, large, steady
from tests.benchmarks.capture.bench import Bench, Figure

MEASUREMENTS: dict[str, Callable[[Bench], Figure]] = {
    "inserts": changes.inserts,
    "one": changes.one,
    "mix": changes.mix,
    "tiny": changes.tiny,
    "large": large.large,
    "steady": steady.on_disk,
    "steady-s3": steady.on_s3,
    "commits": commits.commits,
    "copy": copies.copy,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-capture", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="may be given several times")
    parser.add_argument("--rows", type=int, default=1_000_000, help="scales all of them; the goals speak of a million")
    parser.add_argument("--json", action="store_true", help="one object a line")
    arguments = parser.parse_args()
    machine = f"{platform.platform()}, {os.cpu_count()} cores"
    print(json.dumps({"machine": machine}) if arguments.json else machine, flush=True)
    with tempfile.TemporaryDirectory(prefix="rireki-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        with StateFolder(path / "state") as state, Postgres.start(state, durable=False) as server:
            bench = Bench(server, state, path, arguments.rows)
            for name in arguments.only or MEASUREMENTS:
                figure = MEASUREMENTS[name](bench)
                print(json.dumps(dataclasses.asdict(figure)) if arguments.json else figure, flush=True)


if __name__ == "__main__":
    main()
