"""What a platform wants done every night: look whether tables still are what their events say, then forget what is old.

What is found goes to the caller and nowhere else. A database that is away is tried again soon: a night is not left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import psycopg

from services.journal.expire import expire
from services.journal.verify import verify

_AGAIN_S = 60.0

Tell = Callable[[dict[str, Any]], None]


def once(dsn: str, *, days: int, tell: Tell) -> bool:
    """Whether every table is what its events say. Raises StartupError, psycopg.Error."""
    compared = verify(dsn)
    for table in compared:
        tell(asdict(table))
    tell({"forgotten": expire(dsn, days=days)})
    return not any(table.differing for table in compared)


def repeat(dsn: str, *, days: int, every_s: float, tell: Tell, complain: Callable[[psycopg.Error], None]) -> None:
    """At once, and again each ``every_s`` seconds from then, until the process is ended. Raises StartupError."""
    while True:
        began = time.monotonic()
        pause_s = every_s
        try:
            once(dsn, days=days, tell=tell)
        except psycopg.Error as error:
            complain(error)
            pause_s = min(every_s, _AGAIN_S)
        time.sleep(max(0.0, began + pause_s - time.monotonic()))
