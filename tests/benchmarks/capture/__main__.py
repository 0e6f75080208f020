"""Which measurements there are; runs them one after the other on one server. Exit code 1 when a goal is missed, or a
measurement fails: the others go on."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from infra.postgres import Postgres
from infra.state import StateFolder
from tests.benchmarks.capture import changes, commits, copies, large, steady
from tests.benchmarks.capture.bench import Bench, Figure

MEASUREMENTS: dict[str, Callable[[Bench], list[Figure]]] = {
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-capture", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="may be given several times")
    parser.add_argument("--rows", type=int, default=1_000_000, help="scales all of them; the goals speak of a million")
    parser.add_argument("--json", action="store_true", help="one object a line")
    arguments = parser.parse_args()
    machine = f"{platform.platform()}, {os.cpu_count()} cores"
    print(json.dumps({"machine": machine}) if arguments.json else machine, flush=True)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="rireki-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        with StateFolder(path / "state") as state, Postgres.start(state, durable=False) as server:
            bench = Bench(server, state, path, arguments.rows)
            for name in arguments.only or MEASUREMENTS:
                try:
                    with bench.alone():
                        figures = MEASUREMENTS[name](bench)
                except Exception as error:  # the others' figures are worth having
                    traceback.print_exc()
                    missed += 1
                    told = {"name": name, "error": str(error)}
                    print(json.dumps(told) if arguments.json else f"FAILED {name}: {error}", flush=True)
                    continue
                missed += sum(not figure.met for figure in figures)
                for figure in figures:
                    told = dataclasses.asdict(figure) | {"met": figure.met}
                    print(json.dumps(told) if arguments.json else figure, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
