"""``rireki pin``: keep the versions of one cut, whatever their age, under a name."""

from __future__ import annotations

from lakehouse.lake import Lake
from lakehouse.pins import Pin, pins_of
from lakehouse.pins import pin as keep
from pipelines.cli.console import COMMON, DONE, Common, emit, moment, say
from pipelines.cli.console import table as show_table
from pipelines.config import load


def pin(name: str | None = None, *, at: str | None = None, reason: str = "", common: Common = COMMON) -> int:
    """Keep every table's version at one moment until it is unpinned; without a name: list the pins.

    Parameters
    ----------
    name
        Letters, digits and ._-; what rireki unpin takes.
    at
        As for rireki sql. The versions are those of the newest cut at or before it; none: of the newest cut.
    reason
        Kept with the pin.
    """
    lake = Lake.open(load(common.config).lake_root())
    if name is None:
        return _list(pins_of(lake.root.store()), as_json=common.json)
    made = keep(lake.root, name, lake.at(at), reason=reason)
    if common.json:
        emit(made.to_json())
        return DONE
    say(f"pinned {len(made.versions)} tables at {made.lsn} ({moment(made.source_time)}) as {made.name}")
    return DONE


def _list(pins: list[Pin], *, as_json: bool) -> int:
    if as_json:
        emit({"pins": [one.to_json() for one in pins]})
        return DONE
    rows = [[one.name, str(one.lsn), one.source_time, one.pinned_at, len(one.versions), one.reason] for one in pins]
    show_table(["name", "lsn", "source time", "pinned at", "tables", "reason"], rows)
    return DONE
