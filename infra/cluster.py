"""PostgreSQL's data folder: made once, configured at every start, freed of what a killed stack left in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.account import Account, environment_for, run_as
from infra.binaries import Binaries
from infra.errors import ClusterVersionDiffers, ProgramFailed
from infra.processes import ProcessIdentity, command_line

_TEMPLATES = Path(__file__).parent / "templates"
_BUILTIN_LOCALES_SINCE = 17


def create(
    cluster: Path, binaries: Binaries, superuser: str, password: str, *, account: Account | None, durable: bool
) -> None:
    """UTF-8, code point order whatever the machine's locale, checksums, no way in without a password.

    Whole or not at all: made beside its place, then moved there. Raises ProgramFailed with initdb's own words.
    """
    draft = cluster.with_name("cluster.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password_file = cluster.with_name("initdb-password")
    password_file.unlink(missing_ok=True)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account is not None:
        os.chown(draft, account.uid, account.gid)
        os.chown(password_file, account.uid, account.gid)
    locale = ["--locale=C"]
    if binaries.version >= _BUILTIN_LOCALES_SINCE:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command: list[str | Path] = [
        binaries.program("initdb"),
        *("-D", draft, "-U", superuser, f"--pwfile={password_file}", "--auth=scram-sha-256"),
        *("--encoding=UTF8", "--data-checksums", *locale, *([] if durable else ["--no-sync"])),
    ]
    try:
        made = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment_for(account),
            **run_as(account),
        )
    finally:
        password_file.unlink()
    if made.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        raise ProgramFailed(f"ended with exit code {made.returncode}\n{made.stdout}", subject="initdb", fix=_INITDB_FIX)
    draft.rename(cluster)


_INITDB_FIX = "read its last lines above; a full disk and a folder that can't be written are the usual causes"


def check_version(cluster: Path, version: int) -> None:
    """Raises ClusterVersionDiffers for a cluster of another major version."""
    found = cluster.joinpath("PG_VERSION").read_text().strip()
    if found != str(version):
        raise ClusterVersionDiffers(
            f"was made by PostgreSQL {found}; this starts PostgreSQL {version}", subject=f"cluster {cluster}"
        )


def configure(place: Path, cluster: Path, port: int, settings: Mapping[str, str]) -> Path:
    """Write postgresql.conf and pg_hba.conf into ``place``, and return the former."""
    config, hba = place / "postgresql.conf", place / "pg_hba.conf"
    lines = "\n".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
    hba.write_text(_TEMPLATES.joinpath("pg_hba.conf").read_text())
    config.write_text(
        _TEMPLATES.joinpath("postgresql.conf")
        .read_text()
        .format(data_directory=_escaped(str(cluster)), hba_file=_escaped(str(hba)), port=port, settings=lines)
    )
    for file in (config, hba):
        file.chmod(0o644)  # the account reads them; nothing in them is secret
    return config


def free_of_orphans(cluster: Path, account: Account | None) -> None:
    """Stop a server that still runs on ``cluster``, and keep a stale ``postmaster.pid`` from blocking the start.

    The caller holds the state folder's lock: whatever runs here has outlived its stack.
    """
    note = cluster / "postmaster.pid"
    try:
        first, rest = note.read_text().split("\n", 1)
        pid = int(first)
    except (FileNotFoundError, ValueError):
        return
    if str(cluster) in command_line(pid):
        orphan = ProcessIdentity.of(pid)
        if orphan is not None:
            orphan.end(signal.SIGINT, grace_s=60)
        return
    if ProcessIdentity.of(pid) is None:
        return
    # The pid now belongs to a stranger, and PostgreSQL would take him for a server. Deleting the file would also delete
    # the shared memory key by which PostgreSQL finds backends that still run: so only the pid is replaced, by one that
    # has just ended.
    with subprocess.Popen(["/bin/sh", "-c", ":"]) as ended:
        ended.wait()
    _write_as(account, note, f"{ended.pid}\n{rest}")


def _write_as(account: Account | None, file: Path, text: str) -> None:
    """As the account itself: root writes nothing where somebody else may place symbolic links."""
    command = ["/bin/sh", "-c", 'cat > "$1"', "sh", str(file)]
    subprocess.run(command, input=text, text=True, check=True, cwd="/", **run_as(account))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "''")


def _quoted(value: str) -> str:
    return f"'{_escaped(value)}'"
