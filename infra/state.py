"""The state folder: everything that the embedded stack keeps, in one place that may be deleted while nothing runs.

lock            locked while a stack runs; holds its pid
ports.json      name → loopback port, kept so that a restart is found where it was
secrets/        generated passwords, 0600
running/        name → pid and start time of each child; what is left over here outlived a killed stack
logs/           one log per child
postgres/       PostgreSQL's files (see infra.postgres)
elsewhere.json  only under root, and only if the unprivileged account can't enter this folder: name → the folder
                used instead, under /var/lib/rireki
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from infra.account import Account
from infra.errors import PortTaken, StackAlreadyRunning, StateFolderUnusable
from infra.ports import LOOPBACK, free_port, is_free
from infra.processes import ProcessIdentity


class StateFolder:
    """``with StateFolder(".rireki") as folder:`` locks it; without ``with`` it may be read, and nothing started.

    The lock is the kernel's (flock): it ends with the process, however that ends. Taking it heals what a killed stack
    left behind: children still running are stopped.
    Raises on entry: StackAlreadyRunning, StateFolderUnusable.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self._lock: int | None = None

    def __enter__(self) -> StateFolder:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        while self._lock is None:
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StateFolderUnusable(
                    f"can't be written ({error.strerror})", subject=f"state folder {self.path}"
                ) from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(lock, 32, 0).decode().strip() or "unknown"
                os.close(lock)
                raise StackAlreadyRunning(
                    f"in use by the stack of process {holder}", subject=f"state folder {self.path}"
                ) from error
            # Somebody may have deleted the folder between open and flock: then this is a lock on nothing.
            if _same_file(lock, self.path / "lock"):
                self._lock = lock
            else:
                os.close(lock)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        self._stop_leftovers()

    def release(self) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    @property
    def locked(self) -> bool:
        """Whether this very object holds the lock."""
        return self._lock is not None

    def destroy(self) -> None:
        """Delete the folder and what was placed elsewhere for it. Raises StackAlreadyRunning while a stack uses it."""
        if not self.path.exists():
            return
        if not self.locked:
            self.acquire()
        for place in _read_json(self.path / "elsewhere.json").values():
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(self.path)
        self.release()

    def port(self, name: str, wanted: int | None = None) -> int:
        """The port of one server: the one wanted, else the one it had last time if that is free, else any free one.

        Raises PortTaken when the wanted one is in use; nothing is remembered then.
        """
        ports: dict[str, int] = _read_json(self.path / "ports.json")
        if wanted is not None and not is_free(wanted):
            raise PortTaken(f"something else listens there already (wanted for {name})", subject=f"{LOOPBACK}:{wanted}")
        kept = ports.get(name)
        others = {port for other, port in ports.items() if other != name}
        chosen = wanted or (kept if kept is not None and is_free(kept) else free_port(avoid=others))
        if chosen != kept:
            self._write_json("ports.json", {**ports, name: chosen})
        return chosen

    def secret(self, name: str) -> str:
        """A generated password, the same at every call, in a file that nobody else may read."""
        file = self._folder("secrets") / name
        if not file.exists():
            _write_private(file, secrets.token_urlsafe(24))
        return file.read_text()

    def log(self, name: str) -> Path:
        """Where the child of that name writes. One that grew large is set aside as ``.1`` at the next start."""
        return self._folder("logs") / f"{name}.log"

    def place(self, name: str, account: Account | None) -> Path:
        """A folder for one server's files, which ``account`` (None: ourselves) can enter. Created when missing.

        Ours, not the account's: it makes folders of its own inside. Usually ``<path>/<name>``; for an account that
        can't enter there, a folder under /var/lib/rireki, recorded here, deleted with :meth:`destroy`, and swept at the
        next start if this folder was deleted by hand.
        """
        if account is None:
            return self._folder(name)
        elsewhere = _read_json(self.path / "elsewhere.json")
        if name in elsewhere and Path(elsewhere[name]).is_dir():
            return Path(elsewhere[name])
        here = self._folder(name)
        for folder in (self.path, here):
            _let_enter(folder, account)
        if account.reaches(here):
            return here
        here.rmdir()
        self._sweep()
        place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_shared_ground()))
        _let_enter(place, account)
        place.joinpath("belongs_to").write_text(str(self.path))
        self._write_json("elsewhere.json", {**elsewhere, name: str(place)})
        return place

    def remember_running(self, name: str, child: ProcessIdentity, stop_signal: int) -> Callable[[], None]:
        """Note a child: the next start stops it if we are killed together with its leash. Returns: forget it."""
        note = self._folder("running") / f"{name}.json"
        _write_private(note, json.dumps({"pid": child.pid, "started": child.started, "stop_signal": stop_signal}))
        return lambda: note.unlink(missing_ok=True)

    def _stop_leftovers(self) -> None:
        for note in self._folder("running").glob("*.json"):
            left = _read_json(note)
            with contextlib.suppress(KeyError):
                ProcessIdentity(left["pid"], left["started"]).end(left["stop_signal"], grace_s=30)
            note.unlink()

    def _sweep(self) -> None:
        """Delete places that a folder of this path left behind when it was deleted by hand."""
        known = set(_read_json(self.path / "elsewhere.json").values())
        for note in _shared_ground().glob("*/belongs_to"):
            if note.read_text() == str(self.path) and str(note.parent) not in known:
                shutil.rmtree(note.parent, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        _write_private(self._folder(".") / name, json.dumps(value, indent=2, sort_keys=True))


def _shared_ground() -> Path:
    """Root's own folder which everybody may enter, and which no cleaner empties (as /var/tmp's do after 30 days)."""
    ground = Path("/var/lib/rireki")
    try:
        ground.mkdir(parents=True, exist_ok=True)
        ground.chmod(0o711)
    except OSError as error:
        raise StateFolderUnusable(
            f"can't be written ({error.strerror}), and PostgreSQL's account can't enter the state folder",
            subject=f"folder {ground}",
            fix="choose a state folder under a folder that everybody may enter, such as /srv",
        ) from error
    return ground


def _let_enter(folder: Path, account: Account) -> None:
    """Enter, not list, and nobody else: what others put inside need not be closed file by file."""
    os.chown(folder, -1, account.gid)
    folder.chmod(0o710)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read_json(file: Path) -> dict[str, Any]:
    """An unreadable file counts as empty: everything in this folder can be made anew."""
    try:
        value = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write_private(file: Path, text: str) -> None:
    """Whole or not at all, 0600 from its first byte."""
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    Path(draft).replace(file)
