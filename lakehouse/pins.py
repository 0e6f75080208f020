"""Pins: cuts whose versions maintenance keeps, whatever the promise says, until somebody takes the pin out.

One object for each, `_rireki/pins/<name>.json` below the lake's root, so that a pin holds for all tables or for none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cdc.lsn import Lsn
from cdc.relation import TableName
from lakehouse.as_of import AsOf
from lakehouse.errors import HistoryIncomplete, PinExists, UnknownMoment, UnknownPin
from lakehouse.retained import Retained
from lakehouse.root import LakeRoot
from lakehouse.store import Store

FOLDER = "_rireki/pins"
_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


@dataclass(frozen=True, slots=True)
class Pin:
    """``versions`` belong to the cut at ``lsn``. ``source_time`` and ``pinned_at`` are UTC."""

    name: str
    lsn: Lsn
    source_time: datetime
    pinned_at: datetime
    reason: str
    versions: Mapping[TableName, int] = field(hash=False)

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "lsn": str(self.lsn),
            "source_time": self.source_time.isoformat(),
            "pinned_at": self.pinned_at.isoformat(),
            "reason": self.reason,
            "versions": {str(table): version for table, version in sorted(self.versions.items())},
        }


def pins_of(store: Store) -> list[Pin]:
    """Every pin, by name."""
    return [pin for name in store.names(FOLDER) if (pin := _read(store, name)) is not None]


def pinned_versions(pins: list[Pin], table: TableName) -> dict[int, str]:
    """A table's pinned versions, and the names of their pins."""
    return {pin.versions[table]: pin.name for pin in reversed(pins) if table in pin.versions}


def pin(root: LakeRoot, name: str, as_of: AsOf, *, reason: str = "") -> Pin:
    """Keep the versions of the cut at or before ``as_of``; durable when this returns.

    Raises: PinExists; UnknownMoment for a name that can't be one; HistoryIncomplete when maintenance has let a version
    go, or does so meanwhile.
    """
    if not _NAME.match(name):
        raise UnknownMoment(
            "a pin's name is 1 to 100 letters, digits and ._-", subject=name, fix="rireki pin NAME --at MOMENT"
        )
    store, cut = root.store(), as_of.cut
    _check(store, cut.versions, name)
    made = Pin(name, cut.cut_lsn, cut.source_time.astimezone(UTC), datetime.now(UTC), reason, cut.versions)
    path = f"{FOLDER}/{name}.json"
    if not store.put_if_absent(path, json.dumps(made.to_json(), ensure_ascii=False).encode()):
        raise PinExists("already keeps versions", subject=name)
    try:
        # Maintenance reads the pins before it decides, and removes nothing within an hour after that.
        _check(store, cut.versions, name)
    except HistoryIncomplete:
        store.remove(path)
        raise
    return made


def unpin(root: LakeRoot, name: str) -> Pin:
    """Take the pin out: the next maintenance treats its versions like any other. Raises UnknownPin."""
    store = root.store()
    found = _read(store, f"{name}.json") if _NAME.match(name) else None
    if found is None:
        raise UnknownPin("there is no such pin", subject=name)
    store.remove(f"{FOLDER}/{name}.json")
    return found


def _check(store: Store, versions: Mapping[TableName, int], name: str) -> None:
    for table, version in versions.items():
        if not Retained.read(store, table).keeps(version):
            raise HistoryIncomplete(
                f"version {version} of {table} is no longer kept",
                subject=f"pin {name}",
                fix=f"rireki versions {table} lists what can still be pinned",
            )


def _read(store: Store, name: str) -> Pin | None:
    body = store.get(f"{FOLDER}/{name}")
    if body is None:
        return None
    told = json.loads(body)
    return Pin(
        told["name"],
        Lsn.parse(told["lsn"]),
        datetime.fromisoformat(told["source_time"]),
        datetime.fromisoformat(told["pinned_at"]),
        told["reason"],
        {TableName.parse(table): version for table, version in told["versions"].items()},
    )
