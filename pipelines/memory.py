"""How this process gives memory back that it no longer needs."""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt, from glibc's malloc.h.
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8


def give_back_freed_memory() -> None:
    """Let large blocks return to the system when they are freed.

    glibc otherwise learns from the first large blocks to keep the next ones, in one heap for each thread: of a large
    transaction a third of the peak was memory that nobody used. Does nothing where malloc is another.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2 << 20)
        mallopt(_ARENA_MAX, 2)
