"""The replication slot: what PostgreSQL remembers for us."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from cdc.errors import SlotLost
from cdc.lsn import Lsn
from cdc.source import Connection, connect, explained, rows

FAILOVER_SINCE = 170_000  # server_version_num

_STATE = """
    SELECT plugin::text, database::text, active_pid, confirmed_flush_lsn::text, wal_status,
           safe_wal_size, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8
    FROM pg_replication_slots WHERE slot_name = %s
"""


@dataclass(frozen=True, slots=True)
class SlotState:
    """A row of ``pg_replication_slots``, and how much WAL the slot keeps."""

    name: str
    plugin: str
    active_pid: int | None
    confirmed_flush: Lsn
    wal_status: str  # reserved, extended, unreserved or lost
    safe_wal_bytes: int | None  # None: no limit is set
    retained_bytes: int


def read_slot(connection: Connection, name: str) -> SlotState | None:
    found = rows(connection, _STATE, name)
    if not found:
        return None
    plugin, _, pid, confirmed, status, safe, retained = found[0]
    return SlotState(
        name,
        str(plugin),
        None if pid is None else int(str(pid)),
        Lsn.parse(str(confirmed or "0/0")),
        str(status or "lost"),
        None if safe is None else int(str(safe)),
        int(str(retained or 0)),
    )


def ensure_slot(dsn: str, name: str) -> tuple[SlotState, bool]:
    """The slot, made where it is missing; whether it was made now.

    Raises SlotLost for one that PostgreSQL has given up, or that isn't ours.
    """
    with explained(dsn, slot=name), connect(dsn) as connection:
        state = read_slot(connection, name)
        made = state is None
        if state is None:
            failover = ", failover => true" if connection.info.server_version >= FAILOVER_SINCE else ""
            connection.execute(
                sql.SQL("SELECT pg_create_logical_replication_slot({}, 'pgoutput'" + failover + ")").format(name)
            )
            state = read_slot(connection, name)
            assert state is not None
    if state.plugin != "pgoutput":
        raise SlotLost(
            f"belongs to the plugin {state.plugin}", subject=f"slot {name}", fix="choose another stream name"
        )
    if state.wal_status == "lost":
        raise SlotLost("PostgreSQL has removed WAL that it still needed", subject=f"slot {name}")
    return state, made


def drop_slot(dsn: str, name: str) -> None:
    with explained(dsn, slot=name), connect(dsn) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which server this is, by its own word: another identifier is another history."""

    system_identifier: int
    timeline: int
    flushed: Lsn


def identify(dsn: str) -> SourceIdentity:
    with explained(dsn), connect(dsn, replication=True) as connection:
        result = connection.pgconn.exec_(b"IDENTIFY_SYSTEM")
        identifier, timeline, position = ((result.get_value(0, i) or b"").decode() for i in range(3))
        return SourceIdentity(int(identifier), int(timeline), Lsn.parse(position))


def current_position(dsn: str) -> Lsn:
    """Where the server's WAL ends now, as far as it is flushed."""
    with explained(dsn), connect(dsn) as connection:
        return Lsn.parse(str(rows(connection, "SELECT pg_current_wal_flush_lsn()::text")[0][0]))


HEARTBEAT = "SELECT pg_logical_emit_message(true, 'rireki.heartbeat', '')::text"


def beat(dsn: str) -> Lsn:
    """Commit a heartbeat; the position just behind its message. The stream will pass it."""
    with explained(dsn), connect(dsn) as connection:
        return Lsn.parse(str(rows(connection, HEARTBEAT)[0][0]))
