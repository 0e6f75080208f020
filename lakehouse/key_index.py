"""Where each key's row lies in a table's live files: key hash -> (file, row).

It is held in memory, and rebuilt from the live files when it isn't there or doesn't belong to the table's version; the
log alone says what is true. Its shape is a short list of runs sorted by hash: new rows become a new small run, and a
run is merged into its elder when it has grown to half of it, but never beyond ``RUN_ROWS``: merging takes memory by the
size of what is merged. So a look-up costs O(changes x log rows) for each few million rows, adding costs O(log rows) per
row over time, and ten million rows take 250 MB (25 bytes each). A run that is mostly dead is made anew without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.key_hash import Hashes

Longs = npt.NDArray[np.int64]


RUN_ROWS = 4 << 20  # while two runs of together that many rows become one, some 250 MB more are taken


@dataclass(frozen=True, slots=True)
class Located:
    """Rows that were found, ordered by the key asked for, then by age. All arrays have one entry per row found."""

    asked: Longs  # which of the keys asked for
    file: Longs
    row: Longs  # zero-based in the file
    run: Longs  # where the index holds it: for `forget`
    slot: Longs

    def __len__(self) -> int:
        return len(self.asked)


@dataclass(slots=True)
class _Run:
    high: npt.NDArray[np.uint64]  # sorted
    low: npt.NDArray[np.uint64]
    file: npt.NDArray[np.uint32]
    row: npt.NDArray[np.uint32]
    alive: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.high)


class KeyIndex:
    """One table's index. A key may have several rows (a table without a key); the oldest is found first."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []  # oldest rows first

    def __len__(self) -> int:
        return sum(int(run.alive.sum()) for run in self._runs)

    def add(self, hashes: Hashes, file: Longs | int, row: Longs) -> None:
        """Add rows, oldest first. They count as younger than all that are there."""
        if len(hashes):
            files = np.broadcast_to(np.asarray(file, dtype=np.uint32), row.shape)
            alive = np.ones(len(hashes), dtype=np.bool_)
            self._runs.append(_sorted(hashes[:, 0], hashes[:, 1], files, row.astype(np.uint32), alive))
            while len(self._runs) > 1 and self._may_merge(self._runs[-2], self._runs[-1]):
                younger, elder = self._runs.pop(), self._runs.pop()
                self._runs.append(_merged(elder, younger))

    def locate(self, hashes: Hashes, at_most: Longs) -> Located:
        """Up to ``at_most[i]`` rows, the oldest, of each key ``hashes[i]``. Every key is asked for once."""
        found: list[tuple[Any, ...]] = []
        for number, run in enumerate(self._runs):
            first = np.searchsorted(run.high, hashes[:, 0], side="left")
            counts = np.searchsorted(run.high, hashes[:, 0], side="right") - first
            asked = np.repeat(np.arange(len(hashes)), counts)
            within = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)
            slot = np.repeat(first, counts) + within
            fits = (run.low[slot] == hashes[asked, 1]) & run.alive[slot]
            asked, slot = asked[fits], slot[fits]
            found.append((asked, run.file[slot], run.row[slot], np.full(len(slot), number), slot))
        if not found:
            return Located(*(np.empty(0, dtype=np.int64) for _ in range(5)))
        columns = [np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True)]
        order = np.argsort(columns[0], kind="stable")  # runs and slots are in order of age already
        asked = columns[0][order]
        rank = np.arange(len(asked)) - np.searchsorted(asked, asked, side="left")
        order = order[rank < at_most[asked]]
        return Located(*(column[order] for column in columns))

    def moved(self, places: Mapping[int, Longs], to: int) -> None:
        """Rows of these files are now in the file ``to``: by old file, the new row for each old one."""
        if not places:
            return
        is_moved = np.zeros(max(places) + 1, dtype=np.bool_)
        is_moved[list(places)] = True
        for run in self._runs:
            at = np.flatnonzero((run.file <= max(places)) & run.alive)
            at = at[is_moved[run.file[at]]]
            files = run.file[at]
            for file, place in places.items():
                mine = at[files == file]
                run.row[mine] = place[run.row[mine]]
            run.file[at] = to

    def forget(self, located: Located) -> None:
        """Drop rows that ``locate`` just found; nothing may have been added in between."""
        for number in np.unique(located.run):
            run = self._runs[number]
            run.alive[located.slot[located.run == number]] = False
            if len(run) > 2 * int(np.count_nonzero(run.alive)):
                self._runs[number] = _without_dead(run)

    @staticmethod
    def _may_merge(elder: _Run, younger: _Run) -> bool:
        return len(elder) <= 2 * len(younger) and len(elder) + len(younger) <= RUN_ROWS


def _sorted(high: Any, low: Any, file: Any, row: Any, alive: Any) -> _Run:
    order = np.argsort(high, kind="stable")  # equal keys stay in order of age
    return _Run(high[order], low[order], file[order], row[order], alive[order])


def _without_dead(run: _Run) -> _Run:
    return _Run(*(getattr(run, name)[run.alive] for name in ("high", "low", "file", "row", "alive")))


def _merged(elder: _Run, younger: _Run) -> _Run:
    parts = [
        np.concatenate([getattr(run, name)[run.alive] for run in (elder, younger)])
        for name in ("high", "low", "file", "row", "alive")
    ]
    return _sorted(*parts)
