"""Who runs a server that refuses root, and what that account can reach.

PostgreSQL won't run as root. Started by root, its processes run as ``nobody``: every system has it, whereas an
account of our own would have to be created (initdb asks the passwd database for the name of its uid), and an existing
``postgres`` account may own somebody's real cluster.

``nobody`` can't enter a folder such as ``/root``. We don't open other people's folders: what ``nobody`` must reach goes
elsewhere instead (see :meth:`infra.state.StateFolder.place`), and a copy of the binaries with it.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from infra.errors import AccountUnusable

# All that a server needs of our environment.
_HARMLESS = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


class RunAs(TypedDict, total=False):
    """Arguments of ``subprocess.run``; empty for ourselves."""

    user: int
    group: int
    extra_groups: list[int]


def environment_for(account: Account | None) -> dict[str, str]:
    """Ours; for another account without what may be secret: every process of that account can read it."""
    return {name: value for name, value in os.environ.items() if account is None or name in _HARMLESS}


def run_as(account: Account | None) -> RunAs:
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account of this system."""

    name: str
    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> Account | None:
        """The account to take on; None for an ordinary user, who runs everything as himself.

        Raises: AccountUnusable, for a root that has no ``nobody`` or may not become it.
        """
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError as error:
            raise AccountUnusable("this system has no such account", subject="account nobody") from error
        account = cls(entry.pw_name, entry.pw_uid, entry.pw_gid)
        account.reaches(Path("/"))
        return account

    def reaches(self, path: Path) -> bool:
        """Whether the account may enter the folder, or execute the file, at ``path``: asked of the kernel itself."""
        command = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
        try:
            probe = subprocess.run(command, cwd="/", check=False, **run_as(self))
        except OSError as error:
            raise AccountUnusable(
                f"root may not become it here ({error.strerror})", subject=f"account {self.name}"
            ) from error
        return probe.returncode == 0
