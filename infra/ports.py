"""Loopback ports: chosen freely, below the range from which the kernel serves outgoing connections.

A port out of the ephemeral range could be lent to somebody's outgoing connection between two starts, and the
stack would come back elsewhere than its configuration says.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Container

LOOPBACK = "127.0.0.1"
_RANGE = range(20_000, 30_000)  # Linux lends from 32768, macOS and Windows from 49152


def is_free(port: int) -> bool:
    """Whether a server could listen on it now. Another program may still be faster."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a server just stopped, lingering in TIME_WAIT, don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port(avoid: Container[int] = ()) -> int:
    """A port nobody listens on. Raises OSError when all are taken."""
    for port in random.sample(_RANGE, len(_RANGE)):
        if port not in avoid and is_free(port):
            return port
    raise OSError("no free loopback port between 20000 and 29999")
