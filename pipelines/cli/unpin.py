"""``rireki unpin``: let maintenance treat a pinned cut's versions like any other."""

from __future__ import annotations

from lakehouse.pins import unpin as take_out
from pipelines.cli.console import COMMON, DONE, Common, emit, say
from pipelines.config import load


def unpin(name: str, *, common: Common = COMMON) -> int:
    """Take a pin out.

    Parameters
    ----------
    name
        As rireki pin lists it.
    """
    gone = take_out(load(common.config).lake_root(), name)
    if common.json:
        emit(gone.to_json())
        return DONE
    say(f"unpinned {gone.name}: the next rireki maintain judges its versions by [retention]")
    return DONE
