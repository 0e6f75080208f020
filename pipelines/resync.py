"""Asking for a copy: a logical message in the source, so that it has a place in the commit order like any change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdc.lsn import Lsn
from cdc.publication import published_tables, require_published
from cdc.relation import TableName
from cdc.source import connect, explained, rows
from lakehouse.errors import LakeError
from lakehouse.lake import Lake
from pipelines.config import Config
from pipelines.errors import CopyNotSeen

COPIED_WITHIN_S = 3600.0
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class ResyncRequested:
    """``lsn`` is the message's place in the log, at or before the commit that carries it."""

    lsn: Lsn
    tables: tuple[TableName, ...]


def request_resync(
    config: Config, tables: Sequence[TableName], *, reason: str, replay: bool = False
) -> ResyncRequested:
    """Ask for these tables, or for every published one when none is named. ``replay``: not for copies of them, but for
    what they have in quarantine.

    Raises TableNotPublished, PrivilegeMissing, SourceUnreachable; nothing is asked then.
    """
    publication = config.stream.publication_name
    with explained(config.conninfo()), connect(config.conninfo()) as connection:
        require_published(connection, publication, tables)
        wanted = tuple(tables) or published_tables(connection, publication)
        wished = {"tables": [str(name) for name in wanted], "reason": reason} | ({"replay": True} if replay else {})
        wish = json.dumps(wished, ensure_ascii=False)
        ((lsn,),) = rows(connection, "SELECT pg_logical_emit_message(true, 'rireki.resync', %s)::text", wish)
    return ResyncRequested(Lsn.parse(str(lsn)), wanted)


def wait_for_copies(
    config: Config,
    request: ResyncRequested,
    *,
    on_copied: Callable[[TableName], None] = lambda _: None,
    within_s: float = COPIED_WITHIN_S,
) -> None:
    """Until readers see a copy of every table asked for. Raises CopyNotSeen after ``within_s``."""
    lake = Lake.open(config.lake_root())
    waiting = list(request.tables)
    deadline = time.monotonic() + within_s
    while waiting:
        if time.monotonic() > deadline:
            raise CopyNotSeen(f"not copied within {within_s:g} s", subject=", ".join(map(str, waiting)))
        for table in [table for table in waiting if _is_copied(lake, table, request.lsn)]:
            waiting.remove(table)
            on_copied(table)
        threading.Event().wait(_LOOK_AGAIN_S if waiting else 0)


def _is_copied(lake: Lake, table: TableName, after: Lsn) -> bool:
    quoted = str(table).replace('"', '""')
    try:
        # A copy begins with a truncate whose ordinal is -1.
        query = f'SELECT max(_commit_lsn) AS lsn FROM changelog."{quoted}" WHERE _ordinal = -1'  # noqa: S608 (quoted)
        answer = lake.sql(query)
    except LakeError:
        return False
    copied_at = answer.arrow["lsn"][0].as_py()
    return copied_at is not None and Lsn(copied_at) >= after
