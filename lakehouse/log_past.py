"""What a Delta table's log still tells of its past: the state at each version, and the objects that it stands on.

A version is told by its commit, or by a checkpoint at that very version where the commits before it have been cleaned
away. Delta's readers go by the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from lakehouse.deletion_vector import file_of
from lakehouse.errors import CorruptCommit
from lakehouse.store import Store
from lakehouse.table_state import Action, LiveFile, TableState, load_checkpoint, parse_commit

_TOLD = re.compile(r"\A(\d{20})\.(json|checkpoint\.parquet)\Z")


def states(store: Store, table: str, subject: str, since: int = 0) -> Iterator[TableState]:
    """The table's state at every version that is still told, from the first at or after ``since``, oldest first.

    It is one object, brought from version to version: copy what is to be kept. Raises CorruptCommit, and
    LakeFromNewerVersion.
    """
    commits, checkpoints = set[int](), set[int]()
    for name in store.names(f"{table}/_delta_log"):
        if match := _TOLD.match(name):
            (commits if match[2] == "json" else checkpoints).add(int(match[1]))
    start = max((version for version in checkpoints if version <= since), default=0)
    state = TableState()
    for version in sorted(version for version in commits | checkpoints if version >= start):
        if version in commits and version == state.version + 1:
            name = f"{version:020}.json"
            body = store.get(f"{table}/_delta_log/{name}")
            state.apply(version, parse_commit(body or b"", name, subject), subject)
        elif version in checkpoints:
            state = TableState()
            load_checkpoint(state, store, table, version, subject)
        elif state.exists:
            raise CorruptCommit(f"commit {state.version + 1} is missing before {version}", subject=subject)
        else:
            continue  # its commit is the last of many that were cleaned away
        if version >= since:
            yield state


@dataclass(frozen=True, slots=True)
class LoggedVersions:
    """The commits and checkpoints of one table's log, as they were listed."""

    store: Store
    table: str
    subject: str
    commits: Collection[int]
    checkpoints: Collection[int]

    @classmethod
    def of(cls, store: Store, table: str, subject: str, names: Iterable[str]) -> LoggedVersions:
        """``names``: those of the log's objects."""
        found = [(match[2], int(match[1])) for name in names if (match := _TOLD.match(name))]
        commits = {version for kind, version in found if kind == "json"}
        return cls(store, table, subject, commits, {version for kind, version in found if kind != "json"})

    def state(self, version: int) -> TableState | None:
        """The table's state at ``version``; None where the log doesn't tell it any more. Raises CorruptCommit."""
        state = TableState()
        start = max((one for one in self.checkpoints if one <= version), default=None)
        if start is not None:
            load_checkpoint(state, self.store, self.table, start, self.subject)
        while state.version < version:
            if state.version + 1 not in self.commits:
                return None
            state.apply(state.version + 1, self.actions(state.version + 1), self.subject)
        return state

    def actions(self, version: int) -> list[Action]:
        """What the commit of ``version``, which must be there, does."""
        name = f"{version:020}.json"
        body = self.store.get(f"{self.table}/_delta_log/{name}")
        return parse_commit(body or b"", name, self.subject)


def objects_in(state: TableState) -> Iterator[str]:
    """Everything that must be in the store for the version to be read: paths relative to the table."""
    for file in state.files.values():
        yield from objects_of(file)


def objects_of(file: LiveFile) -> tuple[str, ...]:
    """What must be in the store for the file to be read: paths relative to the table."""
    vector = None if file.deletion_vector is None else file_of(file.deletion_vector)
    return (file.path,) if vector is None else (file.path, vector)


def objects_added(added: Action) -> tuple[str, ...]:
    """The same of an ``add`` action."""
    vector = None if not added.get("deletionVector") else file_of(added["deletionVector"])
    return (added["path"],) if vector is None else (added["path"], vector)
