"""Asking something that may hang: clients of databases and stores retry for longer than some callers may wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def ask(question: Callable[[], T]) -> Future[T]:
    """Start asking; ``result(timeout)`` of what is returned waits no longer than that.

    A question that never ends keeps a thread, but not the process.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(question())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="ask", daemon=True).start()
    return future
