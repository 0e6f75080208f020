"""Connections to the source, and the one place where libpq's errors become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import conninfo, errors, sql

from cdc.errors import (
    BinaryUnreadable,
    PrivilegeMissing,
    PublicationMissing,
    SlotInUse,
    SlotLost,
    SnapshotGone,
    SourceError,
    SourceUnreachable,
    WalLevelNotLogical,
)

Connection = psycopg.Connection[tuple[object, ...]]

CONNECT_TIMEOUT_S = 5
# Half a minute, where the usual is hours: a connection on which nothing arrives any more is a stream that stands still.
_NOTICE_A_DEAD_PEER = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# What "as PostgreSQL prints it" means: for every session that reads rows, whatever the role or the database prefers.
# With no search path, names (regclass and its like) always say their schema.
PRINT_AS_WE_READ: LiteralString = """
    SET datestyle = 'ISO, MDY'; SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; SET extra_float_digits = 1;
    SET bytea_output = 'hex'; SET search_path = ''
"""


def address(dsn: str) -> str:
    """``user@host:port/database``: a source as a person may read it, without its password."""
    parts = conninfo.conninfo_to_dict(dsn)
    user = f"{parts['user']}@" if parts.get("user") else ""
    return f"{user}{parts.get('host') or 'localhost'}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


def connect(dsn: str, *, replication: bool = False, application_name: str = "rireki") -> Connection:
    """An autocommit connection. Raises SourceUnreachable or PrivilegeMissing."""
    parameters: dict[str, str | int] = {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "client_encoding": "UTF8",  # the lake's, whatever the database's is
        **_NOTICE_A_DEAD_PEER,
    }
    if replication:
        parameters["replication"] = "database"
    with explained(dsn):
        return psycopg.connect(conninfo.make_conninfo(dsn, **parameters), autocommit=True)


@contextmanager
def explained(dsn: str, *, slot: str = "", publication: str = "") -> Iterator[None]:
    """Turn what the server or libpq says into the error tree, keeping the cause."""
    try:
        yield
    except psycopg.Error as error:
        raise explain(error, dsn, slot=slot, publication=publication) from error


def explain(error: psycopg.Error, dsn: str, *, slot: str = "", publication: str = "") -> SourceError:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    match error:
        case errors.UndefinedColumn() | errors.UndefinedTable():
            return SnapshotGone(f"a table was altered while it was copied: {text}", subject=address(dsn))
        case errors.ObjectInUse():
            pid = re.search(r"PID (\d+)", text)
            return SlotInUse(f"in use{f' by process {pid[1]}' if pid else ''}", subject=f"slot {slot or '?'}")
        case errors.InsufficientPrivilege():
            return PrivilegeMissing(text, subject=address(dsn))
        case errors.InvalidAuthorizationSpecification() | errors.InvalidPassword():
            return SourceUnreachable(text, subject=address(dsn))
        case errors.UndefinedFunction() if "binary output" in text:
            return BinaryUnreadable(text, subject=f"slot {slot or '?'}")
        case errors.UndefinedObject() | errors.InvalidParameterValue() if "snapshot" in text:
            return SnapshotGone(f"the copy's snapshot is gone: {text}", subject=address(dsn))
        case errors.UndefinedObject() if "publication" in text:
            return PublicationMissing(text, subject=f"publication {publication or '?'}")
        case errors.UndefinedObject() if "slot" in text:
            return SlotLost("it doesn't exist any more", subject=f"slot {slot or '?'}")
        case errors.ObjectNotInPrerequisiteState() if "wal_level" in text:
            return WalLevelNotLogical(text, subject=address(dsn))
        case errors.ObjectNotInPrerequisiteState() if slot:
            return SlotLost(text, subject=f"slot {slot}")
        case _:
            return SourceUnreachable(text, subject=address(dsn))


def rows(connection: Connection, query: LiteralString | sql.Composed, *parameters: object) -> list[tuple[object, ...]]:
    return connection.execute(query, parameters or None).fetchall()
