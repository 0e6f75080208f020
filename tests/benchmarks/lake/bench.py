"""What is told, and a process of its own for everything whose memory or caches would colour the rest."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Figure:
    """A ratio that must be at most ``goal``."""

    name: str
    ratio: float
    goal: float
    told: str

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal

    def __str__(self) -> str:
        verdict = "met   " if self.met else "MISSED"
        return f"{verdict} {self.name}: {_shown(self.ratio)} (goal: at most {_shown(self.goal)}); {self.told}"


def alone(work: Callable[..., _Result], *arguments: Any) -> _Result:
    """Run it in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def median_s(work: Callable[[], object], times: int = 7) -> float:
    """Warm: the first run doesn't count."""
    work()
    return statistics.median(timed(work)[1] for _ in range(times))


def resident_bytes() -> int:
    return _status("VmRSS")


def forget_peak() -> None:
    """From now on, ``peak_bytes`` is of what follows."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    return _status("VmHWM")


def bytes_below(folder: str | Path) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _shown(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.2 else f"1/{1 / ratio:.1f}"
