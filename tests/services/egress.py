"""Connections that a service's own threads open. libpq's are made in C and aren't told; Python's are."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

WORKER = "AnyIO worker thread"  # in which FastAPI runs what isn't async: every handler of the services
_watching: list[list[Any]] = []  # an audit hook can't be taken off again


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watching and threading.current_thread().name == WORKER:
        _watching[-1].append(arguments[1])


sys.addaudithook(_hook)


@contextlib.contextmanager
def watched() -> Iterator[list[Any]]:
    """The addresses, as they are connected to."""
    connections: list[Any] = []
    _watching.append(connections)
    try:
        yield connections
    finally:
        _watching.remove(connections)


def try_one() -> None:
    with contextlib.suppress(OSError), socket.socket() as nobody:
        nobody.connect(("127.0.0.1", 1))
