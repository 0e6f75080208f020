"""The one door to the database: a transaction with a tenant bound to it.

Nothing else hands out a connection; a test holds that no other module of the services opens one. What is bound
ends with the transaction (``set_config(…, true)``), so a pooled connection carries nothing over to its next user.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from services.shared.context import Context
from services.shared.errors import Conflict, StartupError, Unavailable
from services.shared.proof import ContextKey

_SHADOW_HIT = "01R01"  # rls.observe, migrations/0007
_BIND: LiteralString = (
    "SELECT set_config('app.tenant_id', %(tenant)s, true), set_config('app.tenant_proof', %(proof)s, true)"
)
_BIND_AND_HOLD: LiteralString = _BIND + ", rls.hold_tenant(%(tenant)s::uuid)"

Statement = LiteralString | sql.SQL | sql.Composed
Parameters = Mapping[str, Any] | Sequence[Any]


class TenantTransaction:
    """Statements inside one open transaction. Rows are dicts; rows of other tenants don't exist."""

    def __init__(self, connection: psycopg.Connection[DictRow], context: Context) -> None:
        self.__connection = connection
        self.context = context
        self.committed_by: datetime | None = None  # the database's clock just after the commit; UTC
        self._announced = False

    @property
    def tenant_id(self) -> UUID:
        return self.context.tenant_id

    def rows(self, statement: Statement, parameters: Parameters | None = None) -> list[DictRow]:
        return self.__connection.execute(statement, parameters).fetchall()

    def row(self, statement: Statement, parameters: Parameters | None = None) -> DictRow | None:
        return self.__connection.execute(statement, parameters).fetchone()

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> int:
        """Returns the number of rows touched."""
        return self.__connection.execute(statement, parameters).rowcount

    def announce(self) -> None:
        """Say who and why in the change stream, once. Called with the first event: what writes nothing says nothing."""
        if not self._announced:
            self.__connection.execute(
                "SELECT pg_logical_emit_message(true, 'rireki.context', %s)", (self.context.as_message(),)
            )
            self._announced = True


class Database:
    """A pool that can only be entered through a tenant."""

    def __init__(self, dsn: str, *, max_connections: int, wait_seconds: float = 5.0, name: str) -> None:
        self._name = name
        self._key = ContextKey("", b"")  # known once the database is open
        self._shadow_hits: deque[str] = deque()
        self.__pool = ConnectionPool(
            dsn,
            connection_class=psycopg.Connection[DictRow],
            # No autocommit: a statement outside a transaction would run without its tenant.
            kwargs={"row_factory": dict_row, "application_name": name, "autocommit": False},
            min_size=1,
            max_size=max_connections,
            timeout=wait_seconds,
            configure=lambda connection: connection.add_notice_handler(self._notice),
            open=False,
        )

    def open(self, *, wait_seconds: float = 10.0) -> None:
        """Raises StartupError when the database can't be reached, or the role is one that row security doesn't bind."""
        try:
            self.__pool.open(wait=True, timeout=wait_seconds)
        except PoolTimeout as error:
            self.__pool.close()
            raise StartupError(
                f"no connection within {wait_seconds:g} s",
                subject=self._name,
                fix="check the DSN and that PostgreSQL runs",
            ) from error
        try:
            self._refuse_unbound_role()
            self._refuse_unproven_context()
        except BaseException:
            self.__pool.close()
            raise

    def close(self) -> None:
        self.__pool.close()

    def alive(self) -> bool:
        """Whether the database answers. Reads no table."""
        try:
            with self._connection() as connection:
                connection.execute("SELECT 1")
        except Unavailable:
            return False
        return True

    @contextmanager
    def tenant_transaction(self, context: Context) -> Iterator[TenantTransaction]:
        """A writing transaction; commits at the end of the block, rolls back when it raises.

        Raises: Unavailable when the database is away, the pool is empty or the work collided with another's;
        Conflict when a constraint refuses the commit.
        """
        with self._connection() as connection:
            # Held before any row is locked: a reorganisation of the tenant waits for this one, or this one for it.
            self._bind(connection, context.tenant_id, _BIND_AND_HOLD)
            transaction = TenantTransaction(connection, context)
            yield transaction
            connection.commit()
            clock = connection.execute("SELECT clock_timestamp() AS now").fetchone()
            assert clock is not None
            transaction.committed_by = clock["now"]

    @contextmanager
    def tenant_reading(self, context: Context) -> Iterator[TenantTransaction]:
        """One snapshot of one tenant; writing is refused by the server."""
        with self._connection() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._bind(connection, context.tenant_id)
            yield TenantTransaction(connection, context)
        if self._shadow_hits:
            self._record_shadow_hits()

    def _bind(self, connection: psycopg.Connection[DictRow], tenant_id: UUID, statement: LiteralString = _BIND) -> None:
        proof = self._key.prove(connection.info.backend_pid, tenant_id)
        connection.execute(statement, {"tenant": str(tenant_id), "proof": proof})

    def _notice(self, diagnostic: pg.Diagnostic) -> None:
        if diagnostic.sqlstate == _SHADOW_HIT and diagnostic.message_detail:
            self._shadow_hits.append(diagnostic.message_detail)

    def _record_shadow_hits(self) -> None:
        """What a reading transaction was only warned of: it couldn't write."""
        with self._connection() as connection:
            while self._shadow_hits:
                connection.execute("SELECT rls.record_hit(%s)", (self._shadow_hits.popleft(),))

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[DictRow]]:
        try:
            with self.__pool.connection() as connection:
                yield connection
        except (PoolTimeout, PoolClosed, TooManyRequests) as error:
            raise Unavailable("every database connection is busy or the database is away") from error
        except (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable, pg.QueryCanceled) as error:
            raise Unavailable("the work collided with another's and was rolled back") from error
        except pg.UniqueViolation as error:
            raise Conflict(f"it exists already ({error.diag.constraint_name})") from error
        except pg.ForeignKeyViolation as error:
            raise Conflict(f"what it refers to is no longer there ({error.diag.constraint_name})") from error
        except pg.OperationalError as error:
            self.__pool.check()  # one lost connection is seldom alone: replace the others before they are handed out
            raise Unavailable("the database connection was lost") from error

    def _refuse_unbound_role(self) -> None:
        with self._connection() as connection:
            role = connection.execute(
                "SELECT rolname, rolsuper OR rolbypassrls AS bypasses FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert role is not None
            owned = connection.execute(
                "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner "
                "WHERE pg_has_role(current_user, r.oid, 'USAGE') AND c.relrowsecurity LIMIT 1"
            ).fetchone()
        if role["bypasses"] or owned is not None:
            raise StartupError(
                "row security does not bind it" if role["bypasses"] else f"the role owns {owned and owned['name']}",
                subject=f"role {role['rolname']}",
                fix="connect as the service's own role, made by: python -m services.migrate",
            )

    def _refuse_unproven_context(self) -> None:
        tenant_id = uuid4()
        with self._connection() as connection:
            role = connection.info.user
            self._key = ContextKey.of(role, connection.info.password)
            self._bind(connection, tenant_id)
            believed = connection.execute("SELECT rls.tenant() AS tenant").fetchone()
        if believed is None or believed["tenant"] != tenant_id:
            raise StartupError(
                "the database doesn't believe its tenant context, which is proved by the role's password",
                subject=f"role {role}",
                fix=f"{role.upper()}_PASSWORD=… python -m services.migrate, and put the password into the DSN; "
                "compare the clocks, too",
            )
