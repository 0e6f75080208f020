"""The questions that ``rireki doctor`` asks of a source. Each returns what it found, or raises what is wrong with it.

First those of the server, in the order in which one stands on the other; then those of the publication and its tables.
They read; nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from cdc.catalogue import Catalogue
from cdc.errors import (
    EncodingUnknown,
    PrivilegeMissing,
    PublicationMissing,
    ServerTooOld,
    SlotLost,
    SlotsExhausted,
    SourceError,
    WalLevelNotLogical,
)
from cdc.publication import TableStanding, publication_exists
from cdc.relation import ReplicaIdentity, TableName
from cdc.source import Connection, connect, rows
from lakehouse.columns import TableColumns
from lakehouse.errors import NameCollision
from lakehouse.sql import is_taken, spelled_out
from pipelines.config import Config

OLDEST_SERVER = 140_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check that didn't raise found. A ``warning`` is what to do about it."""

    what: str
    warning: str = ""


def server_version(connection: Connection) -> Finding:
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise ServerTooOld(f"PostgreSQL {version // 10_000} can't send rows in binary", subject="server")
    return Finding(f"PostgreSQL {connection.info.parameter_status('server_version')}")


def wal_level(connection: Connection) -> Finding:
    level = _setting(connection, "wal_level")
    if level != "logical":
        raise WalLevelNotLogical(f"wal_level is {level}, it must be logical", subject="server")
    return Finding(level)


def room(connection: Connection, config: Config) -> Finding:
    """A stream holds one slot and one sender; copying tables takes one more of each, for a while."""
    slots = _count(connection, "SELECT count(*) FROM pg_replication_slots")
    ours = _count(connection, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", config.stream.slot_name)
    senders = _count(connection, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'")
    free_slots = int(_setting(connection, "max_replication_slots")) - slots
    free_senders = int(_setting(connection, "max_wal_senders")) - senders
    if free_slots + ours < 1:
        raise SlotsExhausted(f"all {slots} replication slots are taken", subject="max_replication_slots")
    if free_senders + ours < 1:
        raise SlotsExhausted(f"all {senders} WAL senders are busy", subject="max_wal_senders")
    what = f"{free_slots} slots and {free_senders} senders free"
    if min(free_slots, free_senders) < 1:
        return Finding(what, "copying a table needs one more of each for a while: raise max_replication_slots "
                             "and max_wal_senders, restart PostgreSQL")  # fmt: skip
    return Finding(what)


def encoding(connection: Connection) -> Finding:
    found = _setting(connection, "server_encoding")
    if found == "SQL_ASCII":
        raise EncodingUnknown(
            "its encoding is SQL_ASCII: PostgreSQL itself doesn't know what its texts say",
            subject=f"database {connection.info.dbname}",
        )
    return Finding(found)


def may_replicate(connection: Connection, config: Config) -> Finding:
    """Tried, not deduced: pg_hba.conf, poolers and managed services have their own say."""
    role = str(connection.info.user)
    try:
        with connect(config.conninfo(), replication=True) as session:
            status = session.pgconn.exec_(b"IDENTIFY_SYSTEM")
            if status.error_message:
                raise PrivilegeMissing(
                    f"this connection can't replicate: {status.get_error_message().splitlines()[0]}",
                    subject=f"role {role}",
                    fix="connect to PostgreSQL itself, not through a pooler, then: rireki doctor",
                )
    except SourceError as error:
        raise PrivilegeMissing(
            f"may not replicate: {error.what}",
            subject=f"role {role}",
            fix=f'ALTER ROLE "{role}" REPLICATION (on Amazon RDS: GRANT rds_replication TO "{role}"); '
            "then: rireki doctor",
        ) from error
    return Finding(f"role {role} may replicate")


def publication(connection: Connection, name: str, standings: tuple[TableStanding, ...]) -> Finding:
    if not publication_exists(connection, name):
        raise PublicationMissing("there is no such publication", subject=f"publication {name}")
    ((complete, through_root),) = rows(connection, _PUBLISHES, name)
    if not standings:
        return Finding(f"{name} lists no table", f'ALTER PUBLICATION "{name}" ADD TABLE schema.table')
    if not complete:
        return Finding(
            f"{name} leaves out some kinds of change, so the lake will differ from the source",
            f"ALTER PUBLICATION \"{name}\" SET (publish = 'insert, update, delete, truncate')",
        )
    if not through_root and _count(connection, _LEAVES, name):
        return Finding(
            f"{name} publishes partitions one by one: new ones are not followed",
            f'ALTER PUBLICATION "{name}" SET (publish_via_partition_root = true)',
        )
    return Finding(f"{name}: {len(standings)} table{'s' if len(standings) != 1 else ''}")


_PUBLISHES: LiteralString = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot FROM pg_publication WHERE pubname = %s
"""

_LEAVES: LiteralString = """
SELECT count(*) FROM pg_publication_tables p JOIN pg_class c
  ON c.oid = format('%%I.%%I', p.schemaname, p.tablename)::regclass
WHERE p.pubname = %s AND c.relispartition
"""


def table(standing: TableStanding, connection: Connection) -> Finding:
    name, role = standing.name, connection.info.user
    quoted = f'"{name.schema}"."{name.table}"'
    if not standing.may_select:
        raise PrivilegeMissing(
            f"role {role} may not read it, so it can't be copied",
            subject=f"table {name}",
            fix=f'GRANT USAGE ON SCHEMA "{name.schema}" TO "{role}"; GRANT SELECT ON {quoted} TO "{role}"; '
            "then: rireki doctor",
        )
    if standing.rows_filtered:
        raise PrivilegeMissing(
            f"row security would hide rows from role {role}",
            subject=f"table {name}",
            fix=f'ALTER ROLE "{role}" BYPASSRLS; then: rireki doctor',
        )
    if not standing.logs_old_rows:
        return Finding(
            "has no replica identity: UPDATE and DELETE fail in the source while it is published",
            f"ALTER TABLE {quoted} ADD PRIMARY KEY (…), or: ALTER TABLE {quoted} REPLICA IDENTITY FULL",
        )
    if standing.identity is ReplicaIdentity.FULL and not standing.has_key:
        return Finding("no key: whole rows are compared, which is slower")
    return Finding("keyed" if standing.has_key else "whole rows")


def column_types(connection: Connection, config: Config) -> Finding:
    catalogue = Catalogue(config.conninfo())
    only_as_text = catalogue.only_as_text(catalogue.listed(connection, config.stream.publication_name))
    if only_as_text:
        return Finding(f"each has a lake type; the stream is sent as text because of {', '.join(only_as_text)}")
    return Finding("each has a lake type")


def names(connection: Connection, config: Config) -> Finding:
    """Names that the lake needs itself, or that it can't tell apart. Raises NameCollision."""
    tables = [
        table.relation for table in Catalogue(config.conninfo()).listed(connection, config.stream.publication_name)
    ]
    seen: dict[str, TableName] = {}
    for relation in tables:
        TableColumns.of(relation)
        other = seen.setdefault(str(relation.name).casefold(), relation.name)
        if other != relation.name:
            # Of the engines that read a lake, most take them for one, and so do some file systems.
            raise NameCollision(f"differs from {other} only by case", subject=str(relation.name))
    taken = [relation.name for relation in tables if is_taken(relation.name)]
    if taken:
        ask = ", ".join(map(spelled_out, taken))
        return Finding("a name means something else in rireki sql", f"nothing, or ask for {ask}")
    forbidden = sorted(f"{r.name}.{c.name}" for r in tables for c in r.columns if not _NO_SPARK.isdisjoint(c.name))
    if forbidden:
        return Finding(
            f"Spark may refuse {', '.join(map(repr, forbidden[:5]))}{' …' * (len(forbidden) > 5)}",
            "nothing, unless you read with Spark: no column of its tables may hold one of ' ,;{}()=', tab or newline",
        )
    return Finding("each name stands for one thing in the lake")


_NO_SPARK = frozenset(" ,;{}()\n\t=")


_SLOT: LiteralString = """
SELECT plugin::text, database::text, active_pid, wal_status FROM pg_replication_slots WHERE slot_name = %s
"""


def slot(connection: Connection, config: Config) -> Finding:
    name = config.stream.slot_name
    found = rows(connection, _SLOT, name)
    if not found:
        return Finding(f"{name} will be made by the first capture")
    plugin, database, active_pid, wal_status = found[0]
    subject = f"slot {name}"
    if plugin != "pgoutput" or database != connection.info.dbname:
        raise SlotLost(
            f"belongs to something else (plugin {plugin}, database {database})",
            subject=subject,
            fix="set stream.slot to a name of its own in rireki.toml, then: rireki doctor",
        )
    if wal_status == "lost":
        return Finding(f"{name} is lost", "rireki doctor says below whether the lake can go on without it")
    held = f", held by pid {active_pid}" if active_pid else ", idle"
    if wal_status == "unreserved":
        return Finding(f"{name} is about to lose WAL{held}", "start rireki capture now; raise max_slot_wal_keep_size")
    return Finding(f"{name}{held}")


def _setting(connection: Connection, name: str) -> str:
    return str(rows(connection, "SELECT current_setting(%s)", name)[0][0])


def _count(connection: Connection, query: LiteralString, *parameters: str) -> int:
    return int(str(rows(connection, query, *parameters)[0][0]))
