"""Which SQL files there are, and whether they still are what was applied."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SERVICES = Path(__file__).parents[1]
_NAME = re.compile(r"\A([0-9]{4})_[a-z0-9_]+\.sql\Z")


@dataclass(frozen=True, slots=True)
class Folder:
    """SQL of one service: its schema's history, and the role that logs in, if one does."""

    path: Path
    schema: str
    login_role: str | None = None


FOLDERS = (
    Folder(_SERVICES / "shared", "rls"),
    Folder(_SERVICES / "directory", "directory", login_role="directory"),
    Folder(_SERVICES / "asset", "asset", login_role="asset"),
    Folder(_SERVICES / "auth", "auth", login_role="auth"),
)


class MigrationRefused(Exception):
    """``what`` is wrong with ``subject``, and the ``fix``. What was applied before stays applied."""

    def __init__(self, what: str, *, subject: str, fix: str) -> None:
        super().__init__(f"{subject}: {what}")
        self.what = what
        self.subject = subject
        self.fix = fix


@dataclass(frozen=True, slots=True)
class File:
    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def files_of(folder: Folder) -> list[File]:
    files: dict[int, File] = {}
    for path in sorted((folder.path / "migrations").glob("*.sql")):
        match = _NAME.match(path.name)
        if match is None:
            raise MigrationRefused(
                "not a migration's name", subject=f"{folder.schema}/{path.name}", fix="call it NNNN_what_it_does.sql"
            )
        file = File(int(match[1]), path.name, path.read_text("utf-8"))
        if file.number in files:
            raise MigrationRefused(
                f"has the number of {files[file.number].name}",
                subject=f"{folder.schema}/{file.name}",
                fix="give it the next free number",
            )
        files[file.number] = file
    return [files[number] for number in sorted(files)]


def refuse_rewritten_history(folder: Folder, history: Mapping[int, tuple[str, str]], files: Sequence[File]) -> None:
    present = {file.number: file for file in files}
    for number, (name, checksum) in history.items():
        subject = f"{folder.schema}/{name}"
        if number not in present:
            raise MigrationRefused(
                "was applied here and is gone", subject=subject, fix="restore the file, or use a release that has it"
            )
        if present[number].checksum != checksum:
            raise MigrationRefused(
                "was changed after it was applied", subject=subject, fix="restore it and put the change into a new file"
            )
    latest = max(history, default=0)
    for file in files:
        if file.number not in history and file.number < latest:
            raise MigrationRefused(
                f"comes before {latest:04d}, which is applied already",
                subject=f"{folder.schema}/{file.name}",
                fix="give it the next free number",
            )
