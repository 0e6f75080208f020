"""Few large files in the place of many small ones, so that a table written once a second stays fast to open and read.

Files of about one size are merged as soon as sixteen of them stand there, into one that is about sixteen times larger.
So a table has some dozens of small files at most, however often it is written, and a row is rewritten four or five
times until its file is large enough. The rows stay the same: the commit says so (`dataChange: false`), and whoever
follows the table as a stream skips it.

Only the table's one writer does this, beside its other work; files are written before anybody is made to wait.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import pyarrow as pa

from lakehouse import parquet
from lakehouse.errors import CorruptCommit
from lakehouse.log import DeltaLog, Overtaken
from lakehouse.table_state import Action, LiveFile

FAN_IN: Final = 16
LARGE_BYTES: Final = 32 << 20  # as a file; in memory, while it is rewritten, several times that

Span = Callable[[LiveFile], tuple[Any, Any]]
"""The first and the last place, in the table's order, at which the file may hold a row."""


def by_size(files: Iterable[tuple[LiveFile, int]]) -> Iterator[list[LiveFile]]:
    """Groups to be merged; each file comes with the number of its rows that are in the table. Order doesn't matter."""
    classes: dict[int, list[LiveFile]] = {}
    for file, rows in files:
        if not _is_large(file):
            classes.setdefault(_size_class(rows), []).append(file)
    for members in classes.values():
        if len(members) >= FAN_IN:
            yield from _fitting(members)


def in_order(files: Iterable[LiveFile], span: Span) -> Iterator[list[LiveFile]]:
    """Groups to be merged that stand side by side in the table's order, so that the merged files do, too."""
    ordered = sorted(files, key=span)
    sizes = [math.inf if _is_large(file) else _size_class(file.row_count) for file in ordered]
    taken: set[int] = set()
    for size in sorted({size for size in sizes if size < math.inf}):
        run: list[int] = []
        for at in range(len(ordered) + 1):
            if at < len(ordered) and sizes[at] <= size and at not in taken:
                run.append(at)
                continue
            if sum(sizes[one] == size for one in run) >= FAN_IN:
                taken.update(run)
                yield from _fitting([ordered[one] for one in run])
            run = []


def compact_in_order(
    log: DeltaLog,
    lock: AbstractContextManager[Any],
    schema: Callable[[], pa.Schema],
    order: Sequence[str],
    span: Span,
    own: tuple[str, ...] = (),
    key: Sequence[str] = (),
) -> int:
    """Merge what is due in a table whose rows stand in order and are only ever added; how many files went.

    ``lock`` is what keeps others from the log; it isn't held while rows are read and written.
    """
    with lock:
        log.settle()
        files = list(log.state.files.values())
    partitions: dict[str, list[LiveFile]] = {}
    for file in files:
        partitions.setdefault(json.dumps(dict(file.partition)), []).append(file)
    gone = 0
    for members in partitions.values():
        for group in in_order(members, span):
            rows = pa.concat_tables([_read(log, file, schema()) for file in group])
            rows = rows.sort_by([(name, "ascending") for name in order])
            new = list(parquet.write(log.store, log.path, rows, group[0].partition, own=own, key=key))
            with lock:
                log.settle()
                gone += len(group) if rearrange(log, group, new) else 0
    return gone


def rearrange(log: DeltaLog, old: Sequence[LiveFile], new: Sequence[LiveFile]) -> bool:
    """Commit ``new`` in the place of ``old``, which hold the same rows; False if ``old`` is no longer all there."""
    if all(log.state.files.get(file.path) == file for file in old):
        try:
            commit_moved(log, [*(file.remove() for file in old), *(file.add() for file in new)])
            return True
        except Overtaken:
            pass
    for file in new:
        log.store.remove(f"{log.path}/{file.path}")
    return False


def commit_moved(log: DeltaLog, changes: Sequence[Action]) -> None:
    """Commit adds and removes after which the rows are the same."""
    for change in changes:
        change[next(iter(change))]["dataChange"] = False
    log.commit(changes, {"operation": "OPTIMIZE", "operationParameters": {}}, blind_append=False)


def _fitting(members: Sequence[LiveFile]) -> Iterator[list[LiveFile]]:
    """The members in their order, parted so that no merged file is too large."""
    group: list[LiveFile] = []
    for file in members:
        bytes_, rows = (
            sum(sizes) for sizes in zip(*((one.size_bytes, one.row_count) for one in (*group, file)), strict=True)
        )
        if group and (bytes_ > LARGE_BYTES or rows > parquet.FILE_ROWS):
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def _size_class(rows: int) -> int:
    return int(math.log(max(rows, 1), FAN_IN) + 1e-9)


def _is_large(file: LiveFile) -> bool:
    return file.size_bytes >= LARGE_BYTES // 2 or file.row_count >= parquet.FILE_ROWS // 2


def _read(log: DeltaLog, file: LiveFile, schema: pa.Schema) -> pa.Table:
    try:
        return parquet.read(log.store, log.path, file.path, schema)
    except FileNotFoundError as error:
        raise CorruptCommit(f"data file {file.path} is gone", subject=log.subject) from error
