"""Opening the lake's Delta tables to read them, with errors that a person can act on.

A table's log is read once by a reader that stays: after that, a question costs one look for the next commit.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast
from urllib.parse import unquote

import deltalake.exceptions
import polars.exceptions
import pyarrow as pa
from deltalake import DeltaTable

from lakehouse.errors import CorruptCommit, HistoryIncomplete, LakeFromNewerVersion, LakeUnreachable
from lakehouse.root import LakeRoot, SharedTable
from lakehouse.table_state import FORMAT, TableState, advance, load

_MISSING = (
    "not found",
    "no such file",
    "nosuchkey",
    "does not exist",
    "no files in log segment",
    "specified end version",
    "404",
)
_DAMAGED = (
    "json error",
    "parse json",
    "parsing json",
    "invalid json",
    "missing log",
    "gap in the log",
    "contiguous commit files",
)

_KEPT_TABLES = 256
_KEPT_MADE = 32
Made = TypeVar("Made")


@dataclass(frozen=True)
class OpenLake(LakeRoot):
    """A lake of which a reader keeps what it has opened. What is kept never changes, so threads may share it."""

    _newest: dict[str, DeltaTable] = field(default_factory=dict, repr=False, compare=False)
    _older: OrderedDict[tuple[str, int], DeltaTable] = field(default_factory=OrderedDict, repr=False, compare=False)
    _states: dict[str, TableState] = field(default_factory=dict, repr=False, compare=False)
    _made: OrderedDict[Hashable, object] = field(default_factory=OrderedDict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made earlier under this key, which says all that it depends on. The last few are kept."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return cast(Made, self._made[key])
        made = make()
        with self._lock:
            self._made[key] = made
            while len(self._made) > _KEPT_MADE:
                self._made.popitem(last=False)
        return made

    def kept(self, uri: str, version: int | None) -> DeltaTable | None:
        """The table as it was opened before, unless it has gone on since."""
        with self._lock:
            table = self._newest.get(uri)
            if version is not None and (table is None or table.version() != version):
                table = self._older.get((uri, version))
        if table is None or version is not None:
            return table
        return table if self._is_newest(uri.removeprefix(self.url).lstrip("/"), table.version()) else None

    def keep(self, uri: str, version: int | None, table: DeltaTable) -> None:
        with self._lock:
            if version is None:
                self._newest[uri] = table
                return
            self._older[uri, version] = table
            while len(self._older) > _KEPT_TABLES:
                self._older.popitem(last=False)

    def _is_newest(self, table: str, version: int) -> bool:
        """A clean-up takes the oldest commits first: where our own has gone, nothing is said about the next."""
        log, store = f"{table}/_delta_log", self.store()
        return store.get(f"{log}/{version + 1:020}.json") is None and store.get(f"{log}/{version:020}.json") is not None

    def state(self, table: SharedTable) -> TableState:
        """The newest state of a table's log; not to be changed."""
        store = self.store()
        with self._lock:
            known = self._states.get(table)
        if known is not None and self._is_newest(table, known.version):
            return known
        state = TableState()
        if known is not None:
            state = replace(known, markers=dict(known.markers), files=dict(known.files))
        if known is None or not advance(state, store, table, table):
            state = load(store, table, table)
        with self._lock:
            self._states[table] = state
        return state


def table_state(root: LakeRoot, table: SharedTable) -> TableState:
    """The newest state of one of the tables that all sources' tables share; it doesn't exist before the first commit.

    Raises: CorruptCommit, LakeFromNewerVersion, LakeUnreachable, BucketMissing.
    """
    return root.state(table) if isinstance(root, OpenLake) else load(root.store(), table, table)


def open_table(root: LakeRoot, uri: str, subject: str, version: int | None = None) -> DeltaTable | None:
    """The table at ``uri``, newest or at ``version``; None if there is none.

    Raises: LakeFromNewerVersion; HistoryIncomplete where ``version`` is gone; LakeUnreachable.
    """
    if isinstance(root, OpenLake) and (held := root.kept(uri, version)) is not None:
        return held
    with reading(subject):
        try:
            kind = DeltaTable if root.is_plain else _Unescaped
            table = kind(uri, version=version, storage_options=root.storage_options)
        except deltalake.exceptions.TableNotFoundError:
            if version is not None:
                raise
            return None
    written = int(table.metadata().configuration.get("rireki.format", FORMAT))
    if written > FORMAT:
        raise LakeFromNewerVersion(f"the table has format {written}, this version knows {FORMAT}", subject=subject)
    if isinstance(root, OpenLake):
        root.keep(uri, version, table)
    return table


class _Unescaped(DeltaTable):
    """A table in a folder such as ``/srv/my lake``: delta-rs escapes its path in what it says, which Polars takes for
    the name itself. Here it says the name.
    """

    @property
    def table_uri(self) -> str:
        return unquote(super().table_uri)

    def file_uris(self, *arguments: Any, **options: Any) -> list[str]:
        return [self._said(uri) for uri in super().file_uris(*arguments, **options)]

    def deletion_vectors(self) -> Any:
        told = pa.table(super().deletion_vectors())
        paths = pa.array([self._said(path) for path in told["filepath"].to_pylist()], pa.string())
        return told.set_column(told.column_names.index("filepath"), "filepath", paths)

    def _said(self, uri: str) -> str:
        """Only the table's own path is escaped once too often; what lies below it is ours, and plain."""
        escaped = super().table_uri.removeprefix("file://").rstrip("/")
        before, found, below = uri.partition(escaped)
        return before + unquote(escaped) + below if found else uri


@contextlib.contextmanager
def reading(subject: str) -> Iterator[None]:
    """Say in our words what delta-rs, Polars and the store say in theirs.

    Raises: HistoryIncomplete when a version or a file is gone, CorruptCommit when a log can't be read, LakeUnreachable
    for the rest.
    """
    try:
        yield
    except (deltalake.exceptions.DeltaError, polars.exceptions.ComputeError, OSError) as error:
        text = str(error).split("\n\nDebug source", 1)[0].strip()
        # What follows is where in the library it happened.
        told, signs = text.split("\n", 1)[0].split(": ParsedLogPath", 1)[0], text.lower()
        if "NoSuchBucket" not in text and any(sign in signs for sign in _MISSING):
            raise HistoryIncomplete(f"a version or file is no longer in the store: {told}", subject=subject) from error
        if any(sign in signs for sign in _DAMAGED):
            raise CorruptCommit(f"a commit of its log can't be read: {told}", subject=subject) from error
        raise LakeUnreachable(told, subject=subject) from error
