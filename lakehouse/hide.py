"""Taking rows out of a table without rewriting their files: the actions, and what is hidden already."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pyroaring import BitMap64

from lakehouse import deletion_vector
from lakehouse.errors import CorruptCommit
from lakehouse.log import DeltaLog
from lakehouse.store import Store
from lakehouse.table_state import Action, LiveFile


def hidden_rows(log: DeltaLog, file: LiveFile) -> BitMap64:
    """Numbers of the file's rows that are no longer in the table. Raises CorruptCommit."""
    return hidden_in(log.store, log.path, file, log.subject)


def hidden_in(store: Store, table: str, file: LiveFile, subject: str) -> BitMap64:
    """The same for any version of the table at ``table``."""
    if file.deletion_vector is None:
        return BitMap64()

    def read(path: str) -> bytes:
        body = store.get(f"{table}/{path}")
        if body is None:
            raise ValueError(f"deletion vector file {path} is gone")
        return body

    try:
        return deletion_vector.decode(file.deletion_vector, read)
    except ValueError as error:
        raise CorruptCommit(f"{error} (data file {file.path})", subject=subject) from error


def hide(
    log: DeltaLog, hidden: Mapping[str, BitMap64], written: Mapping[str, LiveFile] = MappingProxyType({})
) -> tuple[list[Action], dict[str, BitMap64]]:
    """The actions after which exactly these rows of these files are hidden, and the vectors of files that stay.

    A file is live, or among ``written``: then no version has it yet. One of which nothing is left goes. Writes the
    vector file, if one is needed, so commit the actions next.
    """
    files = {path: written.get(path) or log.state.files[path] for path in hidden}
    partly = {path: rows for path, rows in hidden.items() if len(rows) < files[path].row_count}
    descriptors, vector_file = deletion_vector.encode(partly)
    if vector_file is not None:
        log.store.put(f"{log.path}/{vector_file[0]}", vector_file[1])
    removed = [file.remove() for path, file in files.items() if path not in written]
    return removed + [files[path].with_vector(vector).add() for path, vector in descriptors.items()], partly
