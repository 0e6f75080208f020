"""Who and why: transactions, the logical messages that they carry, and where they were replicated from.

A writer says it in its own transaction, ``pg_logical_emit_message(true, 'rireki.context', json)``. A transaction
without it gets nulls, never a guess; a message that isn't a JSON object counts as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cdc import scan
from cdc.batch import TRANSACTIONS_SCHEMA
from cdc.decode import EPOCH_SHIFT_US
from cdc.lsn import Lsn
from cdc.relation import TableName

NO_TRANSACTIONS: pa.Table = TRANSACTIONS_SCHEMA.empty_table()

_BEGIN, _ORIGIN = ord("B"), ord("O")
_LONGEST_NAME = 4096  # an index holds origins' names, so none has more than a third of a page

_FIELDS = ("actor", "actor_type", "request_id", "reason", "correlation_id")


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """A transactional message with one of our prefixes."""

    transaction: int  # number in the stream, as the scanner counts
    which: int  # scan.CONTEXT, scan.RESYNC or scan.HEARTBEAT
    content: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the source has a transaction from. ``lsn``: its commit there; None where the server doesn't say."""

    name: str
    lsn: int | None


@dataclass(frozen=True, slots=True)
class ResyncRequest:
    """Someone asks for tables to be copied again: ``pg_logical_emit_message(true, 'rireki.resync', json)``."""

    commit_lsn: Lsn
    tables: tuple[TableName, ...]  # empty: all
    reason: str
    replay: bool = False  # not copied: what is in quarantine is to be taken now


def logical_messages(buf: scan.Bytes, found: scan.Ints) -> list[LogicalMessage]:
    """Ours among the messages of a slice; ``found`` as ``scan.index_changes`` fills it."""
    ours = found[(found[:, 1] != scan.OTHER) & (found[:, 0] >= 0)]
    return [
        LogicalMessage(number, which, buf[at : at + size].tobytes()) for number, which, at, size, _ in ours.tolist()
    ]


def origins(buf: scan.Bytes, starts: scan.Ints, kinds: scan.Bytes, begun_before: int) -> dict[int, Origin]:
    """By the transaction's number in the stream; ``begun_before`` is the number of the last that began before these.

    Source: PostgreSQL documentation, "Logical Replication Message Formats", Origin: it comes behind Begin. Of a
    transaction that is sent before its commit the server knows the name alone.
    """
    found = np.flatnonzero(kinds == _ORIGIN)
    if not len(found):
        return {}
    numbers = begun_before + np.cumsum(kinds == _BEGIN)[found]
    told = {}
    for number, at in zip(numbers.tolist(), starts[found].tolist(), strict=True):
        lsn, name = int.from_bytes(buf[at + 1 : at + 9].tobytes()), buf[at + 9 : at + 9 + _LONGEST_NAME].tobytes()
        told[number] = Origin(name[: name.index(0)].decode(), lsn or None)
    return told


def transactions(
    begun: list[np.ndarray],
    touched: list[np.ndarray],
    messages: list[LogicalMessage],
    origins: Mapping[int, Origin],
    table_names: list[str],
) -> pa.Table:
    """One row per transaction that changed rows or says who it is; heartbeats leave no trace."""
    all_begun = np.concatenate(begun) if begun else np.empty((0, 5), np.int64)
    if not len(all_begun):
        return NO_TRANSACTIONS
    base = int(all_begun[0, 3])
    rows = np.zeros(len(all_begun), np.int64)
    pairs = np.concatenate(touched) if touched else np.empty((0, 3), np.int64)
    np.add.at(rows, pairs[:, 0] - base, pairs[:, 2])
    contexts = {m.transaction - base: _context(m.content) for m in messages if m.which == scan.CONTEXT}
    worth_telling = rows > 0
    worth_telling[list(contexts)] = True
    kept = np.flatnonzero(worth_telling)
    said = np.isin(kept, list(contexts))
    places = np.where(said, np.cumsum(said) - 1, 0)
    who = {name: [contexts[i][name] for i in kept[said].tolist()] for name in _FIELDS}
    return pa.Table.from_arrays(
        [
            pa.array(all_begun[kept, 0]),
            pa.array(all_begun[kept, 2]),
            pa.array(all_begun[kept, 1] + EPOCH_SHIFT_US, TRANSACTIONS_SCHEMA.field("committed_at").type),
            *[pa.array(who[name], pa.string()).take(pa.array(places, mask=~said)) for name in _FIELDS],
            _tables_of(pairs, base, kept, table_names),
            pa.array(rows[kept]),
            *_came_from(kept + base, origins),
        ],
        schema=TRANSACTIONS_SCHEMA,
    )


def _came_from(numbers: np.ndarray, origins: Mapping[int, Origin]) -> tuple[pa.Array, pa.Array]:
    if not origins:
        return pa.nulls(len(numbers), pa.string()), pa.nulls(len(numbers), pa.int64())
    found = [origins.get(number) for number in numbers.tolist()]
    names = pa.array([one and one.name for one in found], pa.string())
    return names, pa.array([one and one.lsn for one in found], pa.int64())


def _tables_of(pairs: np.ndarray, base: int, kept: np.ndarray, table_names: list[str]) -> pa.Array:
    # Transaction and table as one number: rows of two would be compared as bytes.
    tables = max(len(table_names), 1)
    distinct = np.unique((pairs[:, 0] - base) * tables + pairs[:, 1])
    position = np.searchsorted(kept, distinct // tables)
    counts = np.bincount(position, minlength=len(kept))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    names = pa.array(table_names, pa.string()).take(pa.array(distinct % tables))
    return pa.ListArray.from_arrays(pa.array(offsets), names)


def resync_requests(begun: list[np.ndarray], messages: list[LogicalMessage]) -> tuple[ResyncRequest, ...]:
    asked = [m for m in messages if m.which == scan.RESYNC]
    if not asked:
        return ()
    commit_lsn = {int(number): int(lsn) for part in begun for lsn, _, _, number, _ in part.tolist()}
    found = []
    for message in asked:
        wish = _object(message.content)
        names = wish.get("tables", [])
        if isinstance(names, list) and all(isinstance(name, str) and "." in name for name in names):
            tables = tuple(TableName.parse(name) for name in names)
            at, reason = Lsn(commit_lsn[message.transaction]), str(wish.get("reason") or "")
            found.append(ResyncRequest(at, tables, reason, wish.get("replay") is True))
    return tuple(found)


def _context(content: bytes) -> dict[str, str | None]:
    said = _object(content)
    return {name: None if said.get(name) is None else _as_text(said[name]) for name in _FIELDS}


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _object(content: bytes) -> dict[str, object]:
    try:
        said = json.loads(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
