"""Asking for a copy: a logical message in the source, so that it has a place in the commit order like any change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from cdc.lsn import Lsn
from cdc.publication import published_tables, require_published
from cdc.relation import TableName
from cdc.source import connect, explained, rows
from pipelines.config import Config


@dataclass(frozen=True, slots=True)
class ResyncRequested:
    """``lsn`` is the message's place in the log, at or before the commit that carries it."""

    lsn: Lsn
    tables: tuple[TableName, ...]


def request_resync(config: Config, tables: Sequence[TableName], *, reason: str) -> ResyncRequested:
    """Ask for these tables, or for every published one when none is named.

    Raises TableNotPublished, PrivilegeMissing, SourceUnreachable; nothing is asked then.
    """
    publication = config.stream.publication_name
    with explained(config.conninfo()), connect(config.conninfo()) as connection:
        require_published(connection, publication, tables)
        wanted = tuple(tables) or published_tables(connection, publication)
        wish = json.dumps({"tables": [str(name) for name in wanted], "reason": reason}, ensure_ascii=False)
        ((lsn,),) = rows(connection, "SELECT pg_logical_emit_message(true, 'rireki.resync', %s)::text", wish)
    return ResyncRequested(Lsn.parse(str(lsn)), wanted)
