"""Objects under one root: put, put if absent, get, list. What is put is durable when the call returns.

A position is confirmed to PostgreSQL after a commit here, and PostgreSQL then forgets it: so a local file is synced,
and so is every folder that names it, before we say that it is there.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import S3Store

from lakehouse.errors import BucketMissing, ConditionalPutRefused, LakeUnreachable

# Options of delta-rs that say how *it* commits; our own put-if-absent needs none of them.
_DELTA_ONLY = frozenset({"aws_s3_allow_unsafe_rename", "aws_s3_locking_provider", "aws_conditional_put"})
_CLIENT_OPTIONS = frozenset({"allow_http", "allow_invalid_certificates", "timeout", "connect_timeout", "proxy_url"})


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there. ``path`` is relative to the folder that was listed; ``modified`` is UTC, the store's."""

    path: str
    size_bytes: int
    modified: datetime


class Store(Protocol):
    """Paths are relative to the root, separated by ``/``. Every method may raise LakeUnreachable or BucketMissing."""

    def put(self, path: str, body: bytes) -> None:
        """Write an object under a name that nobody else uses."""

    def put_if_absent(self, path: str, body: bytes) -> bool:
        """Write it unless something has that name; True if it is ours."""

    def replace(self, path: str, body: bytes) -> None:
        """Write an object in the place of the one that has its name; readers see either."""

    def get(self, path: str) -> bytes | None:
        """The object's bytes; None if there is none."""

    def names(self, folder: str, after: str = "") -> list[str]:
        """Names of the objects right below ``folder`` that sort after ``after``, sorted."""

    def listed(self, folder: str) -> list[Stored]:
        """Every object below ``folder``, however deep, sorted by path."""

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right below ``folder``, sorted."""

    def remove(self, path: str) -> None:
        """Remove an object that nothing refers to; none there is fine."""


class LocalStore:
    """A folder of the local file system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._synced: set[Path] = set()  # folders whose names this process has made durable
        self._made: set[Path] = set()
        self._written_into: Counter[Path] = Counter()  # at this moment
        self._folders = threading.Lock()  # the three above

    def put(self, path: str, body: bytes) -> None:
        with self._said():
            target = self._root / path
            with self._writing_into(target.parent):
                self._write(target, body)
                _sync_folder(target.parent)

    def put_if_absent(self, path: str, body: bytes) -> bool:
        target = self._root / path
        with self._said(), self._writing_into(target.parent):
            if target.exists():
                return False
            # A hidden name: readers of a log list only names that begin with the version.
            temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
            self._write(temporary, body)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            _sync_folder(target.parent)
            return True

    def replace(self, path: str, body: bytes) -> None:
        target = self._root / path
        with self._said(), self._writing_into(target.parent):
            temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
            self._write(temporary, body)
            temporary.replace(target)
            _sync_folder(target.parent)

    def get(self, path: str) -> bytes | None:
        with self._said():
            try:
                return (self._root / path).read_bytes()
            except FileNotFoundError:
                return None

    def names(self, folder: str, after: str = "") -> list[str]:
        return sorted(entry.name for entry in self._entries(folder) if entry.is_file() and entry.name > after)

    def listed(self, folder: str) -> list[Stored]:
        top, found = self._root / folder, []
        for path in (Path(at) / name for at, _, names in os.walk(top) for name in names):
            with self._said():
                try:
                    told = path.stat()
                except FileNotFoundError:
                    continue  # it went while we looked
            modified = datetime.fromtimestamp(told.st_mtime, UTC)
            found.append(Stored(path.relative_to(top).as_posix(), told.st_size, modified))
        return sorted(found, key=lambda one: one.path)

    def folders(self, folder: str) -> list[str]:
        return sorted(entry.name for entry in self._entries(folder) if entry.is_dir())

    def remove(self, path: str) -> None:
        with self._said():
            target = self._root / path
            target.unlink(missing_ok=True)
            # Folders that a check made, and that hold nothing, go too.
            with self._folders:
                for folder in target.parents:
                    if folder not in self._made or self._written_into[folder] or any(folder.iterdir()):
                        break
                    folder.rmdir()
                    self._made.discard(folder)
                    self._synced.discard(folder)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        with self._said():
            try:
                with os.scandir(self._root / folder) as entries:
                    return list(entries)
            except FileNotFoundError:
                return []

    @contextlib.contextmanager
    def _writing_into(self, folder: Path) -> Iterator[None]:
        """The folder is there meanwhile, though another thread removes the last file in it or beside it."""
        with self._folders:
            self._make_folder(folder)
            self._written_into[folder] += 1
        try:
            yield
        finally:
            with self._folders:
                self._written_into[folder] -= 1

    def _make_folder(self, folder: Path) -> None:
        if folder in self._synced:
            return
        # Also a folder that is there already: whoever made it may have died before syncing its parent.
        if not folder.exists() or self._root in folder.parents:
            self._make_folder(folder.parent)
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                self._made.add(folder)
            _sync_folder(folder.parent)
        self._synced.add(folder)

    def _write(self, target: Path, body: bytes) -> None:
        with target.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LakeUnreachable(
                f"{error.strerror or error} ({error.filename or self._root})",
                subject=str(self._root),
                fix="check that the folder can be written and has room, then: rireki doctor",
            ) from error


class RemoteStore:
    """A prefix of a bucket. ``patient`` retries for minutes, as a stream should; a check answers within seconds."""

    def __init__(self, url: str, options: Mapping[str, str], *, patient: bool = True) -> None:
        self._url = url
        config: dict[str, str] = {}
        client: dict[str, str | bool] = {}
        for key, value in options.items():
            plain = key.lower()
            if plain.removeprefix("aws_") in _CLIENT_OPTIONS:
                short = plain.removeprefix("aws_")
                client[short] = value.lower() in ("true", "1") if short.startswith("allow") else value
            elif plain not in _DELTA_ONLY:
                config[plain if plain.startswith("aws_") else f"aws_{plain}"] = value
        retry = {"max_retries": 8, "retry_timeout": timedelta(minutes=2)}
        if not patient:
            retry = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
        with self._said():
            self._store = S3Store.from_url(url, config=config, client_options=client, retry_config=retry)  # type: ignore[arg-type]

    def put(self, path: str, body: bytes) -> None:
        with self._said():
            obstore.put(self._store, path, body)

    def replace(self, path: str, body: bytes) -> None:
        self.put(path, body)

    def put_if_absent(self, path: str, body: bytes) -> bool:
        with self._said():
            try:
                obstore.put(self._store, path, body, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            except NotSupportedError as error:
                raise ConditionalPutRefused("the store refuses If-None-Match", subject=self._url) from error
            return True

    def get(self, path: str) -> bytes | None:
        with self._said():
            try:
                return bytes(obstore.get(self._store, path).bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def names(self, folder: str, after: str = "") -> list[str]:
        # S3 compares the whole key with the offset; a folder below it would be listed too, so we look for none.
        offset = f"{folder}/{after}" if after else None
        with self._said():
            found = [entry["path"] for chunk in obstore.list(self._store, folder, offset=offset) for entry in chunk]
        names = [path.removeprefix(f"{folder}/") for path in found]
        return sorted(name for name in names if "/" not in name and name > after)

    def listed(self, folder: str) -> list[Stored]:
        with self._said():
            entries = [entry for chunk in obstore.list(self._store, folder) for entry in chunk]
        return sorted(
            (
                Stored(entry["path"].removeprefix(f"{folder}/"), entry["size"], entry["last_modified"].astimezone(UTC))
                for entry in entries
            ),
            key=lambda one: one.path,
        )

    def folders(self, folder: str) -> list[str]:
        with self._said():
            listing = obstore.list_with_delimiter(self._store, folder)
        return sorted(prefix.rsplit("/", 1)[-1] for prefix in cast("list[str]", listing["common_prefixes"]))

    def remove(self, path: str) -> None:
        # S3 answers a delete of nothing with success; some stand-ins say that nothing was there.
        with self._said(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Turn the client's errors into ours. Its text ends with a debug dump that helps nobody."""
        try:
            yield
        except (BaseError, OSError) as error:
            text = str(error).split("\n\nDebug source", 1)[0].strip()
            if "NoSuchBucket" in text:
                bucket = "s3://" + self._url.removeprefix("s3://").partition("/")[0]
                raise BucketMissing("the bucket does not exist", subject=bucket) from error
            raise LakeUnreachable(text, subject=self._url) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
