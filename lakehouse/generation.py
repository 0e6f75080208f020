"""One generation of a table: its columns and key from a commit on, and why its state may have to stay as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc.lsn import Lsn
from cdc.relation import Relation, TableName, typed_column


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One column of one generation. ``stored`` is its name in the changelog."""

    name: str
    stored: str
    type_oid: int
    type_modifier: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Why the state stays as it was. ``certain_to``: the last commit up to which that state was certainly the source's.

    ``by_itself``: a copy is made without anybody asking. ``left``: the publication no longer lists the table.
    ``quarantined``: changes from there on are raw, in the quarantine. ``released``: they have been taken since; cuts
    between have the state of before, and from the first cut at or behind this LSN on, the table has gone on.
    """

    reason: str
    certain_to: Lsn
    by_itself: bool = True
    left: bool = False
    quarantined: bool = False
    released: Lsn | None = None

    @property
    def asks_for_copy(self) -> bool:
        """Whether the table is copied as soon as it is published."""
        return self.by_itself or self.left


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the source's catalogue says of tables whose shape changes: of which relations the rows can go on, because
    nothing got a value unseen, and up to which commit a table certainly had the shape before.
    """

    relations: frozenset[Relation] = frozenset()
    certain: Mapping[TableName, Lsn] = field(default_factory=dict, hash=False)

    def certain_of(self, name: TableName) -> Lsn:
        return self.certain.get(name, Lsn(0))


NOTHING_VOUCHED = Vouched()


@dataclass(frozen=True, slots=True)
class Generation:
    """A table's shape for commits at or after ``from_lsn``, up to the next generation. ``change`` says what is new."""

    from_lsn: Lsn
    oid: int  # the source's; 0 where a lake doesn't know it
    columns: tuple[StoredColumn, ...]
    key: tuple[str, ...]
    change: str
    copied: bool = False
    hold: Hold | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class Held:
    """A stretch in which the state stays as it was at ``at``, until the copy at ``until``; None while none has come."""

    at: Lsn
    hold: Hold
    until: Lsn | None


def what_is_new(before: Generation, relation: Relation) -> str:
    """What is new, for people."""
    was = {column.name: (column.type_oid, column.type_modifier) for column in before.columns}
    now = {column.name: (column.type_oid, column.type_modifier) for column in relation.columns}
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (
            ("added", [name for name in now if name not in was and typed_column(name) == name]),
            ("dropped", [name for name in was if name not in now and typed_column(name) == name]),
            ("told as text, too,", [typed_column(n) for n in now if n not in was and typed_column(n) != n]),
            ("retyped", [name for name in now if name in was and was[name] != now[name]]),
        )
        if names
    ]
    if before.key != relation.key:
        parts.append(f"key ({', '.join(before.key) or 'none'}) became ({', '.join(relation.key) or 'none'})")
    if before.oid != relation.oid:
        parts.append(f"made anew (oid {before.oid} became {relation.oid})")
    if not parts:
        parts = ["reordered"] if list(was) != list(now) else ["copied again"]
    return "; ".join(parts)


def to_json(one: Generation) -> dict[str, Any]:
    """As a changelog's property keeps it."""
    hold = one.hold
    return {
        "from": str(one.from_lsn),
        "oid": one.oid,
        "columns": [[c.name, c.stored, c.type_oid, c.type_modifier] for c in one.columns],
        "key": list(one.key),
        "change": one.change,
        "copied": one.copied,
        "hold": None
        if hold is None
        else {
            "reason": hold.reason,
            "certain_to": str(hold.certain_to),
            "by_itself": hold.by_itself,
            "left": hold.left,
            "quarantined": hold.quarantined,
            "released": None if hold.released is None else str(hold.released),
        },
    }


def from_json(one: Mapping[str, Any]) -> Generation:
    """The reverse."""
    hold = one["hold"]
    return Generation(
        Lsn.parse(one["from"]),
        int(one["oid"]),
        tuple(StoredColumn(*column) for column in one["columns"]),
        tuple(one["key"]),
        one["change"],
        one["copied"],
        None if hold is None else _hold_from_json(hold),
    )


def _hold_from_json(hold: Mapping[str, Any]) -> Hold:
    released = hold.get("released")
    return Hold(
        hold["reason"],
        Lsn.parse(hold["certain_to"]),
        hold["by_itself"],
        hold["left"],
        hold.get("quarantined", False),
        None if released is None else Lsn.parse(released),
    )
