"""A table's generations: which columns and key it had from which commit on, and where its rows could not go on.

A generation begins when the stream shows a table in another shape, when a copy does, or when the lake must stop
applying its changes. Three things can be done with the rows that are there already:

    carried   columns went, came empty, or were typed anew without a new value, says the source's catalogue, or only
              another key finds the rows: the state goes on in the new shape
    copied    the generation begins with a copy, which says every row anew
    held      what the rows are now can't be known from the stream (a default, a rename, another type, a table made
              anew, a change that can't be read): the state stays as it was, and says so, until a copy follows

The changelog is one Delta table for all generations, so a column's name in it stands for one type for ever: where a
name comes back with another type, it is stored as ``name@2``, then ``name@3``. Readers see the source's names.

A text column (docs/types.md) joins when a value first needs it and stays as long as the column beside which it stands:
the stream names it only when it needs it. Nothing is ever held for its sake.

Kept as JSON in the changelog's property ``rireki.generations``, in the same Delta commit as the rows that begin it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from cdc.lsn import Lsn
from cdc.relation import Column, Relation, text_column, typed_column
from lakehouse.columns import CHANGE_COLUMNS, COMMIT_DATE, OWN_COLUMNS, TableColumns, key_type
from lakehouse.errors import CorruptCommit
from lakehouse.generation import Generation, Held, Hold, StoredColumn, from_json, to_json, what_is_new

PROPERTY = "rireki.generations"


@dataclass(frozen=True, slots=True)
class Generations:
    """All of them, oldest first. ``stored`` is the changelog's schema, without its date: every column ever."""

    stored: pa.Schema
    all: tuple[Generation, ...]

    @classmethod
    def read(cls, schema: pa.Schema, properties: Mapping[str, str]) -> Generations:
        """As a changelog's schema and properties say."""
        stored = pa.schema([field for field in schema if field.name != COMMIT_DATE])
        if PROPERTY not in properties:  # written before generations were kept: one, of which little is known
            columns = tuple(StoredColumn(name, name, 0, -1) for name in json.loads(properties["rireki.columns"]))
            key = tuple(json.loads(properties["rireki.key"]))
            return cls(stored, (Generation(Lsn(0), 0, columns, key, "first copied"),))
        return cls(stored, tuple(from_json(one) for one in json.loads(properties[PROPERTY])))

    @property
    def properties(self) -> dict[str, str]:
        newest = self.columns(self.newest).properties
        return {PROPERTY: json.dumps([to_json(one) for one in self.all], ensure_ascii=False), **newest}

    @property
    def newest(self) -> Generation:
        return self.all[-1]

    def at(self, lsn: Lsn) -> Generation:
        """The generation in force as of ``lsn``; the first one for what lies before it."""
        return next((one for one in reversed(self.all) if one.from_lsn <= lsn), self.all[0])

    def between(self, after: Lsn, to: Lsn) -> list[tuple[Generation, Lsn]]:
        """The stretches of ``after < lsn <= to``, each with its last LSN."""
        starts = sorted({one.from_lsn for one in self.all if Lsn(after.value + 1) < one.from_lsn <= to})
        ends = [*(start.before() for start in starts), to]
        return [(self.at(end), end) for end in ends]

    def held(self) -> Iterator[Held]:
        """Every stretch in which the state was, or is, not brought up to date."""
        began: Generation | None = None
        for one in self.all:
            if one.copied and began is not None and began.hold is not None:
                yield Held(began.from_lsn.before(), began.hold, one.from_lsn)
                began = None
            if one.hold is not None and one.hold.released is None and began is None:
                began = one
        if began is not None and began.hold is not None:
            yield Held(began.from_lsn.before(), began.hold, None)

    def held_at(self, lsn: Lsn) -> Held | None:
        """The stretch that ``lsn`` lies in."""
        return next((one for one in self.held() if one.at < lsn and (one.until is None or lsn < one.until)), None)

    def is_quarantined(self, lsn: Lsn) -> bool:
        """Whether the stretch that ``lsn`` lies in waits for a quarantine, beside whatever else it waits for."""
        return any(
            one.hold is not None
            and one.hold.quarantined
            and not any(o.copied and o.from_lsn >= one.from_lsn for o in self.all)
            for one in self.all
            if one.from_lsn <= lsn
        )

    def released(self) -> Iterator[Held]:
        """Stretches of cuts that have the state of before, though the table has gone on through them since."""
        for one in self.all:
            if one.hold is not None and one.hold.released is not None:
                yield Held(one.from_lsn.before(), one.hold, one.hold.released)

    def unknown_to(self, properties: Mapping[str, str]) -> Lsn | None:
        """Up to where a table with these properties, built from the changelog, is right: it may have been built before
        a hold was released. None: it knows them all.
        """
        told = [from_json(one) for one in json.loads(properties.get(PROPERTY, "[]"))]
        known = {one.at for one in Generations(self.stored, tuple(told)).released()}
        return min((one.at for one in self.released() if one.at not in known), default=None)

    def shown_at(self, cut: Lsn) -> Lsn:
        """The moment whose state a cut's version has, holds that nothing has released aside."""
        stale = (one.at for one in self.released() if one.until is not None and one.at < cut < one.until)
        return min(stale, default=cut)

    def known_at(self, lsn: Lsn) -> Generations:
        """Those that had begun by ``lsn``, and the columns that they had."""
        known = tuple(one for one in self.all if one.from_lsn <= lsn) or self.all[:1]
        names = {column.stored for one in known for column in one.columns} | set(CHANGE_COLUMNS)
        return Generations(pa.schema([field for field in self.stored if field.name in names]), known)

    def state_at(self, lsn: Lsn) -> Lsn:
        """The moment whose state the lake has as of ``lsn``: an earlier one in a stretch that only a copy ends."""
        held = self.held_at(lsn)
        return lsn if held is None else self.state_at(held.at)

    def fits(self, relation: Relation, lsn: Lsn) -> bool:
        """Whether the relation has the shape in force at ``lsn``."""
        then = self.at(lsn)
        relation = self._with_texts(then, relation)
        return (then.oid, then.key, then.names) == (
            relation.oid,
            relation.key,
            tuple(column.name for column in relation.columns),
        ) and all(map(self._keeps, then.columns, relation.columns))

    def only_texts_join(self, relation: Relation, lsn: Lsn) -> bool:
        """Whether the relation has the shape in force at ``lsn``, but for text columns that are new."""
        then = self.at(lsn)
        known = {column.name for column in then.columns}
        columns = tuple(one for one in relation.columns if one.name in known or not one.is_text)
        return len(columns) < len(relation.columns) and self.fits(replace(relation, columns=columns), lsn)

    def _with_texts(self, then: Generation, relation: Relation) -> Relation:
        """With the text columns that the table has come to need, in its order; new ones behind them."""
        was = {column.name: column for column in then.columns}
        sources = {one.name: one for one in relation.columns if not one.is_text}
        kept = [
            Column(name, old.type_oid, old.type_modifier, pa.string(), beside.in_key, is_text=True)
            for name, old in was.items()
            if (beside := sources.get(typed_column(name))) is not None
            and beside.name != name
            and beside.name in was
            and self._keeps(was[beside.name], beside)
        ]
        names = {one.name for one in kept}
        new = [one for one in relation.columns if one.is_text and one.name not in names]
        return replace(relation, columns=(*sources.values(), *kept, *new))

    def _keeps(self, old: StoredColumn, new: Column) -> bool:
        """The same type, also as we store it: another version of Rireki may store it better."""
        same = (old.type_oid, old.type_modifier) == (new.type_oid, new.type_modifier)
        return same and same_type(self.stored.field(old.stored).type, new.lake_type)

    def columns(self, generation: Generation) -> TableColumns:
        """By the source's names."""
        kinds = {column.name: self.stored.field(column.stored).type for column in generation.columns}
        own = [self.stored.field(name) for name in CHANGE_COLUMNS if name not in ("_key", COMMIT_DATE)]
        fields = [pa.field(name, kind) for name, kind in kinds.items()]
        at = [field.name for field in own].index("_unchanged")
        own.insert(at, pa.field("_key", key_type(kinds, generation.key)))
        return TableColumns(pa.schema([*fields, *own]), generation.names, generation.key)

    def stored_columns(self, generation: Generation) -> TableColumns:
        """By their names in the changelog, among all columns that it ever had: the shape in which rows that have lived
        through several generations keep what they were.
        """
        stored = {column.name: column.stored for column in generation.columns}
        return TableColumns(self.stored, tuple(stored.values()), tuple(stored[name] for name in generation.key))

    def beginning(
        self, relation: Relation, from_lsn: Lsn, *, copied: bool = False, hold: Hold | None = None
    ) -> Generations:
        """With one more, in the relation's shape, from ``from_lsn`` on. Raises NameCollision."""
        before = self.at(from_lsn) if self.all else None
        if before is not None:
            relation = self._with_texts(before, relation)
        stored, columns = _stored(self.stored, relation)
        if before is not None and before.from_lsn == from_lsn and self.only_texts_join(relation, from_lsn):
            new = replace(before, columns=columns, key=relation.key)  # within the commit that began it
            return Generations(stored, tuple(new if one is before else one for one in self.all))
        told = "first copied" if before is None else what_is_new(before, relation)
        new = Generation(from_lsn, relation.oid, columns, relation.key, told, copied, hold)
        return Generations(stored, _inserted(self.all, new))

    def joined(self, before: Generations, after: Generations, table: str) -> Generations:
        """These, and what ``after`` has that ``before`` hadn't. Raises CorruptCommit where both took one name."""
        fields = {one.name: one for one in self.stored}
        for one in after.stored:
            known = fields.setdefault(one.name, one)
            if one.name != "_key" and not same_type(known.type, one.type):
                raise CorruptCommit(f"column {one.name} was taken twice", subject=table, fix="rireki capture")
        key = {field.name: field for schema in (self.stored, after.stored) for field in schema.field("_key").type}
        fields["_key"] = pa.field("_key", pa.struct(list(key.values())))
        found = self.all
        for one in after.all:
            if one not in before.all and one not in found:
                found = _inserted(found, one)
        return Generations(pa.schema(list(fields.values())), found)

    def ended_by(self, copied_at: Lsn | None, before: Generations) -> Generations:
        """Where the stream tells a hold that a copy, already there in the shape of ``before``, has ended: say so."""
        if copied_at is None or self.held_at(copied_at) is None:
            return self
        copy = replace(before.at(copied_at), from_lsn=copied_at, change="copied again", copied=True, hold=None)
        return Generations(self.stored, _inserted(self.all, copy))

    def holding(self, from_lsn: Lsn, hold: Hold) -> Generations:
        """With the same shape, and a state that stays as it was before ``from_lsn``."""
        new = replace(self.at(from_lsn), from_lsn=from_lsn, change="held", copied=False, hold=hold)
        return Generations(self.stored, _inserted(self.all, new))

    def replayed(self, shapes: Sequence[tuple[Lsn, Relation]], released: Lsn | None) -> Generations:
        """With what the quarantine held: relations in the order in which they began, the first where the hold does.

        ``released``: the rows go on in the first shape, from cuts at this LSN on; None: only a copy can say them all.
        Later generations that say nothing new go, and so do holds that were theirs alone.
        """
        held = next(one for one in reversed(self.all) if one.hold is not None and one.hold.quarantined)
        assert held.hold is not None
        began = held.from_lsn
        found = Generations(self.stored, tuple(one for one in self.all if one is not held))
        for number, (from_lsn, relation) in enumerate(shapes):
            if number == 0:
                hold = replace(held.hold, quarantined=False, by_itself=True, released=released)
                found = found.beginning(relation, began, hold=hold)
            elif not found.fits(relation, from_lsn):
                found = found.beginning(relation, from_lsn, hold=Hold("columns have changed", from_lsn.before()))
        kept: list[Generation] = []
        for one in found.all:
            same = kept and (one.oid, one.columns, one.key) == (kept[-1].oid, kept[-1].columns, kept[-1].key)
            if not (same and one.from_lsn > began and not one.copied):
                kept.append(one)
        return Generations(found.stored, tuple(kept))

    def carries(self, relation: Relation, from_lsn: Lsn, *, vouched: bool) -> str | None:
        """None if rows of the generation before can go on in the relation's shape; otherwise what stands against it.

        ``vouched``: the source's catalogue says that no row got a value with the change that the stream didn't tell.
        """
        before = self.at(from_lsn)
        if before.oid != relation.oid:
            return "the table was made anew"
        was = {column.name: column for column in before.columns if typed_column(column.name) == column.name}
        now = [column for column in relation.columns if not column.is_text]
        for column in now:
            old = was.get(column.name)
            if old is not None and self._keeps(old, column):
                continue
            if not vouched:
                return f"column {column.name} is new" if old is None else f"column {column.name} has another type"
            if old is not None and not same_type(self.stored.field(old.stored).type, column.lake_type):
                return f"column {column.name} has another type"
            if old is None and self._was_there(column.name, from_lsn):
                return f"column {column.name} came back"
        if not vouched and list(was) != [column.name for column in now]:
            # One may have been dropped and another have taken its name, or two may have swapped theirs.
            gone = [name for name in was if name not in {column.name for column in now}]
            return f"column {', '.join(gone)} is gone" if gone else "columns have changed places"
        return None

    def _was_there(self, name: str, at: Lsn) -> bool:
        """Whether data files of the state can still hold a column of that name from earlier."""
        for one in reversed([one for one in self.all if one.from_lsn <= at]):
            if any(known.casefold() == name.casefold() for known in one.names):
                return True
            if one.copied:
                return False
        return False


NONE = Generations(pa.schema([]), ())


def same_type(one: pa.DataType, other: pa.DataType) -> bool:
    """Equal but for the name of a list's member, which every library chooses for itself."""
    if pa.types.is_list(one) and pa.types.is_list(other):
        return same_type(one.value_type, other.value_type)
    return bool(one.equals(other))


def _stored(schema: pa.Schema, relation: Relation) -> tuple[pa.Schema, tuple[StoredColumn, ...]]:
    """The changelog's schema with room for the relation, and where its columns are stored in it."""
    shape = TableColumns.of(relation).changes
    fields = {field.name: field for field in schema if field.name not in CHANGE_COLUMNS}
    columns: list[StoredColumn] = []
    for column in relation.columns:
        if column.is_text:
            (beside,) = (one.stored for one in columns if one.name == typed_column(column.name))
            name = text_column(beside)
        else:
            name = _stored_name(fields, column, {one.stored for one in columns})
        fields.setdefault(name, pa.field(name, column.lake_type))
        columns.append(StoredColumn(column.name, name, column.type_oid, column.type_modifier))
    own = [shape.field(name) for name in CHANGE_COLUMNS if name != COMMIT_DATE]
    key = {column.stored: fields[column.stored].type for column in columns if column.name in relation.key}
    if "_key" in schema.names:
        # A key of the past stays readable; one that has all columns grows with them.
        known = {field.name: field.type for field in schema.field("_key").type}
        key = known | (key or {column.stored: fields[column.stored].type for column in columns})
    else:
        key = key or {name: field.type for name, field in fields.items()}
    own = [pa.field("_key", pa.struct(list(key.items()))) if field.name == "_key" else field for field in own]
    return pa.schema([*fields.values(), *own]), tuple(columns)


def _stored_name(fields: Mapping[str, pa.Field], column: Column, taken: Collection[str]) -> str:
    """The column's own name if it stands for this type or is free, else the first ``name@2``, ``name@3`` that does."""
    spelled = {name.casefold(): name for name in fields}
    number = 1
    while True:
        name = column.name if number == 1 else f"{column.name}@{number}"
        known = spelled.get(name.casefold())
        if name not in taken and name not in OWN_COLUMNS:
            if known is None:
                return name
            if known == name and same_type(fields[name].type, column.lake_type):
                return name
        number += 1


def _inserted(generations: Sequence[Generation], new: Generation) -> tuple[Generation, ...]:
    # A copy may be there before the stream comes to what lies below it.
    at = next((i for i, one in enumerate(generations) if one.from_lsn > new.from_lsn), len(generations))
    return (*generations[:at], new, *generations[at:])
