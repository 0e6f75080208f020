"""Opening the lake's Delta tables to read them, with errors that a person can act on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import deltalake.exceptions
import polars.exceptions
from deltalake import DeltaTable

from lakehouse.errors import HistoryIncomplete, LakeFromNewerVersion, LakeUnreachable
from lakehouse.root import LakeRoot
from lakehouse.table_state import FORMAT

_MISSING = (
    "not found",
    "no such file",
    "nosuchkey",
    "does not exist",
    "no files in log segment",
    "specified end version",
    "404",
)


def open_table(root: LakeRoot, uri: str, subject: str, version: int | None = None) -> DeltaTable | None:
    """The table at ``uri``, newest or at ``version``; None if there is none.

    Raises: LakeFromNewerVersion; HistoryIncomplete where ``version`` is gone; LakeUnreachable.
    """
    with reading(subject):
        try:
            table = DeltaTable(uri, version=version, storage_options=root.storage_options)
        except deltalake.exceptions.TableNotFoundError:
            if version is not None:
                raise
            return None
    written = int(table.metadata().configuration.get("rireki.format", FORMAT))
    if written > FORMAT:
        raise LakeFromNewerVersion(f"the table has format {written}, this version knows {FORMAT}", subject=subject)
    return table


@contextlib.contextmanager
def reading(subject: str) -> Iterator[None]:
    """Say in our words what delta-rs, Polars and the store say in theirs.

    Raises: HistoryIncomplete when a version or a file is gone, LakeUnreachable for the rest.
    """
    try:
        yield
    except (deltalake.exceptions.DeltaError, polars.exceptions.ComputeError, OSError) as error:
        text = str(error).split("\n\nDebug source", 1)[0].strip()
        if "NoSuchBucket" not in text and any(sign in text.lower() for sign in _MISSING):
            raise HistoryIncomplete(f"a version or file is no longer in the store: {text}", subject=subject) from error
        raise LakeUnreachable(text, subject=subject) from error
