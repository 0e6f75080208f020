"""Work for many tables at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

THREADS = 4  # commits wait for the store more than they compute

_Result = TypeVar("_Result")


def each(threads: ThreadPoolExecutor, work: Callable[[Any], _Result], items: Iterable[Any]) -> list[_Result]:
    """Do it for all, a few at a time; wait for all even if one fails, then raise the first failure."""
    futures = [threads.submit(work, item) for item in items]
    wait(futures)
    return [future.result() for future in futures]
