"""One row's whole life: every change, what it made of the row, who did it and why, and the file that tells it.

A row whose key changed keeps its life: the changes under its earlier keys belong to it, too. A row that was deleted and
later inserted under the same key has begun another life. What TOAST left out of a change is taken from the row before.
Pure: the changelog's rows come in as JSON values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from cdc.lsn import Lsn
from cdc.relation import typed_column
from lakehouse.json_values import JsonValue

Key: TypeAlias = tuple[JsonValue, ...]
Row: TypeAlias = Mapping[str, JsonValue]
RowsOf: TypeAlias = Callable[[Key], Sequence[Row]]
"""The changelog's rows whose new or old key is this one, and all truncates; ``_file`` says where each stands,
``_columns`` which source columns the table had then (those asked for where it is left out).
"""


@dataclass(frozen=True, slots=True)
class Who:
    """What the transaction said about itself; None where it said nothing."""

    actor: str | None = None
    actor_type: str | None = None
    reason: str | None = None
    request_id: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Between:
    """When a copy found the row otherwise: some commit after ``from_lsn`` did it, at the latest the copy's ``to_lsn``.

    Nobody can say which one: a gap has swallowed it. Times are ISO, UTC: the last thing known before the gap, the copy.
    """

    from_lsn: Lsn
    from_time: str
    to_lsn: Lsn
    to_time: str

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "from_lsn": str(self.from_lsn),
            "from_time": self.from_time,
            "to_lsn": str(self.to_lsn),
            "to_time": self.to_time,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the row. ``before`` and ``values`` are whole rows as JSON values; None where there was no row.

    ``op`` is insert, update, delete, truncate, or copy: a copy found the row as it is in ``values``, or found it gone,
    and tells neither when that came about nor by whom; behind a gap, ``between`` bounds it. ``life`` counts from 1.
    ``committed_at`` is ISO, UTC. ``file`` is relative to the table's changelog.
    """

    life: int
    lsn: Lsn
    ordinal: int
    op: str
    committed_at: str
    xid: int | None
    before: Row | None
    values: Row | None
    changed: tuple[str, ...]
    file: str
    who: Who = field(default_factory=Who)
    between: Between | None = None

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "life": self.life,
            "lsn": str(self.lsn),
            "ordinal": self.ordinal,
            "op": self.op,
            "committed_at": self.committed_at,
            "xid": self.xid,
            "actor": self.who.actor,
            "actor_type": self.who.actor_type,
            "reason": self.who.reason,
            "request_id": self.who.request_id,
            "correlation_id": self.who.correlation_id,
            "before": None if self.before is None else dict(self.before),
            "values": None if self.values is None else dict(self.values),
            "changed": list(self.changed),
            "file": self.file,
            "between": None if self.between is None else self.between.to_json(),
        }


def changes_of(key: Key, key_columns: Sequence[str], columns: Sequence[str], rows_of: RowsOf) -> list[Change]:
    """The changes of all rows that ever had this key, oldest first, each row from its beginning under whatever key.

    A row that went on under another key ends here with the change that took it there. Nobody is named yet.
    """
    told = _Telling(tuple(key_columns), tuple(columns))
    for row in _with_earlier_keys(key, told, rows_of):
        told.take(row)
    told.end_copy()
    changes = []
    for number, life in enumerate((life for life in told.lives if key in life.keys), 1):
        last = len(life.keys) - life.keys[::-1].index(key)  # and the change that took it away, if one did
        for row, before, values in life.steps[: last + 1]:
            changes.append(_change(number, row, before, values))
    return sorted(changes, key=lambda change: (change.lsn, change.ordinal, change.life))


def _with_earlier_keys(key: Key, told: _Telling, rows_of: RowsOf) -> list[Row]:
    """The rows of ``key`` and of every key that a row had before it came to one of these, in order, each once."""
    found: dict[tuple[int, int, str], Row] = {}
    asked = {key}
    waiting = [key]
    while waiting:
        one = waiting.pop()
        for row in rows_of(one):
            found[(*_position(row), cast(str, row["_op"]))] = row
            old = told.old_key(row)
            if old is not None and told.new_key(row) == one and old not in asked:
                asked.add(old)
                waiting.append(old)
    return [found[position] for position in sorted(found)]


@dataclass(slots=True)
class _Life:
    """One row: its steps (change, row before, row after), and the key that it had after each of them."""

    steps: list[tuple[Row, Row | None, Row | None]] = field(default_factory=list)
    keys: list[Key | None] = field(default_factory=list)

    @property
    def values(self) -> Row | None:
        return self.steps[-1][2] if self.steps else None

    def goes_on(self, row: Row, values: Row | None, key: Key | None) -> None:
        self.steps.append((row, self.values, values))
        self.keys.append(key)


@dataclass(slots=True)
class _Telling:
    """Follows rows through their changes. Several rows share a key only while a transaction swaps keys: as in the
    lake's fold, the oldest leaves first.
    """

    key_columns: tuple[str, ...]
    columns: tuple[str, ...]
    lives: list[_Life] = field(default_factory=list)
    _alive: dict[Key, list[_Life]] = field(default_factory=dict)
    _copy: Row | None = None  # a copy's beginning
    _unseen: dict[Key, list[_Life]] = field(default_factory=dict)  # rows that this copy hasn't shown yet

    def take(self, row: Row) -> None:
        if self._copy is not None and _position(row)[0] != _position(self._copy)[0]:
            self.end_copy()
        op, old, new = row["_op"], self.old_key(row), self.new_key(row)
        if op == "truncate":
            self.end_copy()
            gone, self._alive = self._alive, {}
            if cast(int, row["_ordinal"]) < 0:
                self._copy, self._unseen = row, gone
            else:
                self._end(gone, row)
            return
        if op == "copy":
            life = self._oldest(self._unseen, new)
        elif op == "insert":
            life = self._begun()
        else:
            life = self._oldest(self._alive, new if old is None else old)
        if op == "delete":
            life.goes_on(row, None, None)
        else:
            life.goes_on(row, self._whole(row, life.values), new)
            self._alive.setdefault(new, []).append(life)

    def end_copy(self) -> None:
        """Rows that the copy didn't show had gone before it, unseen."""
        if self._copy is not None:
            self._end(self._unseen, self._copy)
            self._copy, self._unseen = None, {}

    def old_key(self, row: Row) -> Key | None:
        """None where the key didn't change."""
        old = cast("Row | None", row["_key"])
        return None if old is None else tuple(old[name] for name in self.key_columns)

    def new_key(self, row: Row) -> Key:
        old = cast("Row | None", row["_key"]) or {}
        left_out = cast("list[str] | None", row["_unchanged"]) or ()
        return tuple(old.get(name) if typed_column(name) in left_out else row[name] for name in self.key_columns)

    def _whole(self, row: Row, before: Row | None) -> Row:
        left_out = cast("list[str] | None", row["_unchanged"]) or ()
        columns = cast("tuple[str, ...] | None", row.get("_columns")) or self.columns
        return {name: (before or {}).get(name) if typed_column(name) in left_out else row[name] for name in columns}

    def _oldest(self, rows: dict[Key, list[_Life]], key: Key) -> _Life:
        return rows[key].pop(0) if rows.get(key) else self._begun()

    def _begun(self) -> _Life:
        self.lives.append(_Life())
        return self.lives[-1]

    @staticmethod
    def _end(rows: dict[Key, list[_Life]], row: Row) -> None:
        for lives in rows.values():
            for life in lives:
                life.goes_on(row, None, None)


def _change(number: int, row: Row, before: Row | None, values: Row | None) -> Change:
    lsn, ordinal = _position(row)
    copied = row["_op"] == "copy" or ordinal < 0
    changed = () if before is None or values is None else tuple(n for n in values if values[n] != before.get(n))
    return Change(
        number,
        Lsn(lsn),
        ordinal,
        "copy" if copied else cast(str, row["_op"]),
        cast(str, row["_committed_at"]),
        cast("int | None", row["_xid"]),
        before,
        values,
        changed,
        cast(str, row["_file"]),
    )


def _position(row: Row) -> tuple[int, int]:
    return cast(int, row["_commit_lsn"]), cast(int, row["_ordinal"])
