"""The small process between us and a child: it stops the child when asked to, and when we are gone.

Run by path, alone (``python -I -S leash.py STOP_SIGNAL GRACE_S UID GID COMMAND…``), so it imports nothing of ours and
starts in milliseconds. Standard input is one end of a socket pair:

- it writes the child's pid, or ``!`` and why there is none, as one line;
- it reads nothing but the end: the parent closes its side to stop the child, and the kernel closes it when the parent
  is killed. Either way the child's process group gets STOP_SIGNAL, and SIGKILL after GRACE_S seconds.

Linux's parent-death signal wouldn't do: it fires when the starting *thread* ends, reaches one process only, and exists
nowhere else. Exits as the child did; 128 + n for signal n.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def main(stop_signal: int, grace_s: float, uid: int, gid: int, command: list[str]) -> int:
    parent = socket.socket(fileno=0)
    user, group, extra_groups = (uid, gid, ()) if uid >= 0 else (None, None, None)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=extra_groups,
        )
    except OSError as error:
        parent.sendall(f"!{error.strerror}: {error.filename}\n".encode())
        return 127
    parent.sendall(f"{child.pid}\n".encode())

    def stop_at_the_end() -> None:
        with contextlib.suppress(OSError):
            while parent.recv(64):
                pass
        _signal_group(child.pid, stop_signal)
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            _signal_group(child.pid, signal.SIGKILL)

    threading.Thread(target=stop_at_the_end, daemon=True).start()
    code: int = child.wait()
    _signal_group(child.pid, signal.SIGKILL)  # what the child itself left behind
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
