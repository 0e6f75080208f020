"""Forget what only makes tables slow: the answers of old commands, and the codes and tokens of sessions long over.

A retry comes within minutes. A command that is repeated after its key has expired doesn't happen twice either: what it
creates has an id made from the key, and what it changes asks for the version that was seen. A code or a token of a
session that is over is refused, whether it is known or not.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from services.journal.read import need_every_tenant
from services.journal.services import JOURNALS

# In batches, each a transaction: nobody waits long, and it may be stopped anywhere.
_DELETE = """
DELETE FROM {keys} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {keys} WHERE created_at < now() - make_interval(days => %s) LIMIT %s
))
"""
# By hash, from the grants of sessions that were over so long ago. Sessions and grants stay: they are history.
_OF_OLD_SESSIONS = """
DELETE FROM {table} WHERE {key} = ANY(ARRAY(
    SELECT t.{key} FROM {table} AS t {join} JOIN auth.sessions AS s ON s.id = {session}
    WHERE least(s.expires_at, s.ended_at) < now() - make_interval(days => %s) LIMIT %s
))
"""
_BY_GRANT = sql.SQL("JOIN auth.grants AS g ON g.id = t.grant_id"), sql.SQL("g.session_id")
_PASSING = {
    "codes": ("code_hash", *_BY_GRANT),
    "refresh_tokens": ("token_hash", *_BY_GRANT),
    "session_handles": ("secret_hash", sql.SQL(""), sql.SQL("t.session_id")),
}


def expire(dsn: str, *, days: int, batch_rows: int = 10_000) -> dict[str, int]:
    """Schema → answers forgotten, table → rows forgotten. Raises StartupError, psycopg.Error."""
    gone: dict[str, int] = {}
    with psycopg.connect(dsn, autocommit=True, application_name="services.journal") as connection:
        need_every_tenant(connection)
        for journal in JOURNALS:
            statement = sql.SQL(_DELETE).format(keys=sql.Identifier(journal.schema, "idempotency_keys"))
            while count := connection.execute(statement, (days, batch_rows)).rowcount:
                gone[journal.schema] = gone.get(journal.schema, 0) + count
        for table, (key, join, session) in _PASSING.items():
            statement = sql.SQL(_OF_OLD_SESSIONS).format(
                table=sql.Identifier("auth", table), key=sql.Identifier(key), join=join, session=session
            )
            while count := connection.execute(statement, (days, batch_rows)).rowcount:
                gone[f"auth.{table}"] = gone.get(f"auth.{table}", 0) + count
    return gone
