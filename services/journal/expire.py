"""Forget the answers of old commands: a retry comes within minutes, and the keys of years only make the table slow.

A command that is repeated after its key has expired doesn't happen twice either: what it creates has an id made from
the key, and what it changes asks for the version that was seen.
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


def expire(dsn: str, *, days: int, batch_rows: int = 10_000) -> dict[str, int]:
    """Schema → keys forgotten. Raises StartupError, psycopg.Error."""
    gone: dict[str, int] = {}
    with psycopg.connect(dsn, autocommit=True, application_name="services.journal") as connection:
        need_every_tenant(connection)
        for journal in JOURNALS:
            statement = sql.SQL(_DELETE).format(keys=sql.Identifier(journal.schema, "idempotency_keys"))
            while count := connection.execute(statement, (days, batch_rows)).rowcount:
                gone[journal.schema] = gone.get(journal.schema, 0) + count
    return gone
