"""The replication slot: what PostgreSQL remembers for us."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from cdc.errors import SlotLost
from cdc.lsn import Lsn
from cdc.source import Connection, connect, explained, rows

FAILOVER_SINCE = 170_000  # server_version_num
_LET_GO_S = 10.0

# to_jsonb lets one query serve servers that don't say yet why a slot was invalidated (before 17).
_STATE = """
    SELECT plugin::text, database::text, active_pid, confirmed_flush_lsn::text, wal_status,
           safe_wal_size, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8,
           to_jsonb(s) ->> 'invalidation_reason'
    FROM pg_replication_slots s WHERE slot_name = %s
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
    invalidation: str | None = None  # why the server has given it up, where it says so

    @property
    def is_lost(self) -> bool:
        return self.wal_status == "lost" or self.invalidation is not None


def read_slot(connection: Connection, name: str) -> SlotState | None:
    found = rows(connection, _STATE, name)
    if not found:
        return None
    plugin, _, pid, confirmed, status, safe, retained, invalidation = found[0]
    return SlotState(
        name,
        str(plugin),
        None if pid is None else int(str(pid)),
        Lsn.parse(str(confirmed or "0/0")),
        str(status or "lost"),
        None if safe is None else int(str(safe)),
        int(str(retained or 0)),
        None if invalidation is None else str(invalidation),
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
    if state.is_lost:
        raise SlotLost("PostgreSQL has removed WAL that it still needed", subject=f"slot {name}")
    return state, made


def drop_slot(dsn: str, name: str) -> None:
    """Raises SlotInUse; a walsender whose client has just gone is given a moment to notice."""
    patience = time.monotonic() + _LET_GO_S
    with explained(dsn, slot=name), connect(dsn) as connection:
        while True:
            try:
                connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
            except psycopg.errors.ObjectInUse:
                if time.monotonic() > patience:
                    raise
                time.sleep(0.1)
            else:
                return


def drop_lost_slot(dsn: str, name: str) -> None:
    """Drop one of ours that PostgreSQL has given up; any other stays."""
    with explained(dsn, slot=name), connect(dsn) as connection:
        state = read_slot(connection, name)
        if state is not None and state.is_lost and state.plugin == "pgoutput":
            connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which server and database this is, by their own word: another identifier is another history."""

    system_identifier: int  # unsigned, 64 bits
    timeline: int
    flushed: Lsn
    database_oid: int

    def remembered(self) -> dict[str, int]:
        """What a lake keeps of it, as signed 64-bit numbers."""
        system = self.system_identifier
        return {
            "system": system - (1 << 64) if system >> 63 else system,
            "database": self.database_oid,
            "timeline": self.timeline,
        }


def identify(dsn: str) -> SourceIdentity:
    with explained(dsn), connect(dsn, replication=True) as connection:
        result = connection.pgconn.exec_(b"IDENTIFY_SYSTEM")
        identifier, timeline, position = ((result.get_value(0, i) or b"").decode() for i in range(3))
        ((oid,),) = connection.execute("SELECT oid::int8 FROM pg_database WHERE datname = current_database()")
        return SourceIdentity(int(identifier), int(timeline), Lsn.parse(position), int(str(oid)))


def timeline_ended_at(dsn: str, timeline: int, later: int) -> Lsn | None:
    """Where ``timeline`` was left on the way to the timeline ``later``; None if that didn't come from it."""
    with explained(dsn), connect(dsn, replication=True) as connection:
        result = connection.pgconn.exec_(f"TIMELINE_HISTORY {later}".encode())
        if result.status != ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(result)
        history = (result.get_value(0, 1) or b"").decode(errors="replace")
    # A line each: the timeline, where it was left, and why; comments begin with #.
    for line in history.splitlines():
        words = line.split()
        if words and words[0] == str(timeline):
            return Lsn.parse(words[1])
    return None


def current_position(dsn: str) -> Lsn:
    """Where the server's WAL ends now, as far as it is flushed."""
    with explained(dsn), connect(dsn) as connection:
        return Lsn.parse(str(rows(connection, "SELECT pg_current_wal_flush_lsn()::text")[0][0]))


HEARTBEAT = "SELECT pg_logical_emit_message(true, 'rireki.heartbeat', '')::text"


def beat(dsn: str) -> Lsn:
    """Commit a heartbeat; the position just behind its message. The stream will pass it."""
    with explained(dsn), connect(dsn) as connection:
        return Lsn.parse(str(rows(connection, HEARTBEAT)[0][0]))


_PASSING_STEP_BYTES = 4 << 20


def let_log_pass(dsn: str, lsn: Lsn) -> None:
    """Write messages that nobody reads until the server's log ends behind ``lsn``. Costs as many bytes of WAL."""
    padding = "SELECT pg_logical_emit_message(false, 'rireki.passing', repeat('.', %s))"
    with explained(dsn), connect(dsn) as connection:
        while True:
            end = Lsn.parse(str(rows(connection, "SELECT pg_current_wal_insert_lsn()::text")[0][0]))
            if end > lsn:
                break
            connection.execute(padding, (min(_PASSING_STEP_BYTES, lsn.value - end.value + 1),))
        rows(connection, HEARTBEAT)  # a commit, which flushes all of it
