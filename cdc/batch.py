"""What capture hands to the lake: whole transactions as Arrow columns.

Shape of ``TableChanges.rows``, one row per change, in the order ``(_commit_lsn, _ordinal)``::

    <source columns>   by name, source order, all nullable
    _text_<column>     string   what PostgreSQL prints of a value that <column>'s lake type can't hold: <column> is null
                                there; the column joins when such a value first comes
    _op                string   insert | update | delete | truncate | copy
    _commit_lsn        int64    the transaction's commit LSN; for a copied row, the snapshot's LSN
    _ordinal           int64    zero-based within the transaction, counted over all its tables
    _xid               int64    null for a copied row
    _committed_at      timestamp[us, UTC]   the source's clock
    _key               struct   the old row's key columns (all columns for a table without a key);
                                null unless an update changed them
    _unchanged         list<string>   columns that TOAST left out: their value is the row before's,
                                and so is that of their text column, which isn't listed

A delete fills the key columns (all columns for a table without a key) and leaves the others null.
A truncate leaves all source columns null and empties the table at its position.
A copy is a truncate with ordinal -1 at the snapshot's LSN, followed by ``copy`` rows there: so every fold that
knows truncate and insert knows copies too, first ones and repeated ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from cdc.lsn import Lsn
from cdc.relation import Relation, TableName

TIMESTAMP = pa.timestamp("us", tz="UTC")

OPS = ("insert", "update", "delete", "truncate", "copy")

TRANSACTIONS_SCHEMA = pa.schema(
    [
        pa.field("commit_lsn", pa.int64()),
        pa.field("xid", pa.int64()),
        pa.field("committed_at", TIMESTAMP),
        pa.field("actor", pa.string()),
        pa.field("actor_type", pa.string()),
        pa.field("request_id", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("correlation_id", pa.string()),
        pa.field("tables", pa.list_(pa.string())),
        pa.field("rows", pa.int64()),
        pa.field("origin", pa.string()),  # where the source has it from, if it was replicated to it
        pa.field("origin_lsn", pa.int64()),  # its commit there
    ]
)


RAW_SCHEMA = pa.schema(
    [
        pa.field("_op", pa.string()),
        pa.field("_commit_lsn", pa.int64()),
        pa.field("_ordinal", pa.int64()),
        pa.field("_xid", pa.int64()),
        pa.field("_committed_at", TIMESTAMP),
        pa.field("message", pa.binary()),  # the change as pgoutput sent it; empty for a truncate
        pa.field("new_at", pa.int64()),  # where its tuples begin in the message, -1 where there is none
        pa.field("old_at", pa.int64()),
    ]
)


def changelog_schema(relation: Relation) -> pa.Schema:
    """The shape above, for one relation."""
    key = [c for c in relation.columns if c.in_key] or list(relation.columns)
    return pa.schema(
        [pa.field(c.name, c.lake_type) for c in relation.columns]
        + [
            pa.field("_op", pa.string()),
            pa.field("_commit_lsn", pa.int64()),
            pa.field("_ordinal", pa.int64()),
            pa.field("_xid", pa.int64()),
            pa.field("_committed_at", TIMESTAMP),
            pa.field("_key", pa.struct([pa.field(c.name, c.lake_type) for c in key])),
            pa.field("_unchanged", pa.list_(pa.string())),
        ]
    )


@dataclass(frozen=True, slots=True)
class TableChanges:
    """Changes of one relation. One that changed its columns inside a batch appears twice, in order."""

    relation: Relation
    rows: pa.Table  # shape: changelog_schema(relation)


@dataclass(frozen=True, slots=True)
class RawChanges:
    """Changes of a table that can't be taken as it is, and why. ``announced`` is its Relation message, as sent."""

    name: TableName
    announced: bytes
    reason: str
    rows: pa.Table  # shape: RAW_SCHEMA


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole transactions in commit order.

    Every transaction in it has ``from_lsn <= commit_lsn < end_lsn``; the next batch starts at ``end_lsn``, which
    is also the position to confirm once all of this is durable. A batch without transactions is an idle advance:
    the server has said that nothing lies between.
    """

    stream: str
    from_lsn: Lsn
    end_lsn: Lsn
    source_time: datetime  # UTC: the last commit's time, or the server's clock for an idle advance
    tables: tuple[TableChanges, ...]
    transactions: pa.Table  # TRANSACTIONS_SCHEMA, one row per transaction that is worth telling
    raw: tuple[RawChanges, ...] = ()

    @property
    def row_count(self) -> int:
        return sum(changes.rows.num_rows for changes in self.tables)


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of one transaction that is too large to be held whole.

    Its other parts come next, and then the batch with what is left of it, alone. Nobody may see a part before that.
    """

    stream: str
    commit_lsn: Lsn
    tables: tuple[TableChanges, ...]
    raw: tuple[RawChanges, ...] = ()

    @property
    def row_count(self) -> int:
        return sum(changes.rows.num_rows for changes in self.tables)


@dataclass(frozen=True, slots=True)
class TableCopy:
    """One table's rows as of one snapshot. ``rows`` has the changelog's shape; the truncate marker comes first."""

    stream: str
    relation: Relation
    snapshot_lsn: Lsn  # includes every transaction whose commit LSN is <= it
    source_time: datetime
    rows: pa.Table
