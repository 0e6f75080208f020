"""Which measurements of the lake there are; each makes its own tables in a folder that goes afterwards.

One that fails is told and counts as missed; the others go on.
"""

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

from tests.benchmarks.lake.as_of import as_of
from tests.benchmarks.lake.bench import Figure
from tests.benchmarks.lake.changes import changes
from tests.benchmarks.lake.many_cuts import many_cuts
from tests.benchmarks.lake.trace import trace

MEASUREMENTS: dict[str, Callable[[Path, int], list[Figure]]] = {
    "changes": changes,
    "as-of": as_of,
    "trace": trace,
    "many-cuts": many_cuts,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-lake", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="may be given several times")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the table; the goals speak of ten million")
    parser.add_argument("--folder", type=Path, help="where to work; it needs 10 GB (default: the system's)")
    parser.add_argument("--json", action="store_true", help="one object a line")
    arguments = parser.parse_args()
    machine = f"{platform.platform()}, {os.cpu_count()} cores; {arguments.rows:,} rows of ten columns"
    print(json.dumps({"machine": machine}) if arguments.json else machine, flush=True)
    missed = 0
    for name in arguments.only or MEASUREMENTS:
        try:
            with tempfile.TemporaryDirectory(prefix="rireki-bench-", dir=arguments.folder) as folder:
                figures = MEASUREMENTS[name](Path(folder), arguments.rows)
        except Exception as error:  # the figures of the others are worth having
            missed += 1
            traceback.print_exc()
            failed = f"{type(error).__name__}: {error}"
            told = json.dumps({"name": name, "failed": failed}) if arguments.json else f"FAILED {name}: {failed}"
            print(told, flush=True)
            continue
        for figure in figures:
            missed += not figure.met
            told = json.dumps(dataclasses.asdict(figure) | {"met": figure.met})
            print(told if arguments.json else figure, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
