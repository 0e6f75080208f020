"""The one door to the database: a transaction with a tenant bound to it.

Nothing else hands out a connection; a test holds that no other module of the services opens one. What is bound
ends with the transaction (``set_config(…, true)``), so a pooled connection carries nothing over to its next user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from services.shared.context import Context
from services.shared.errors import Conflict, StartupError, Unavailable

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
        self.__pool = ConnectionPool(
            dsn,
            connection_class=psycopg.Connection[DictRow],
            # No autocommit: a statement outside a transaction would run without its tenant.
            kwargs={"row_factory": dict_row, "application_name": name, "autocommit": False},
            min_size=1,
            max_size=max_connections,
            timeout=wait_seconds,
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
            _bind(connection, context.tenant_id)
            # Before any row is locked: a reorganisation of the tenant waits for this one, or this one for it.
            connection.execute("SELECT rls.hold_tenant(%s)", (context.tenant_id,))
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
            _bind(connection, context.tenant_id)
            yield TenantTransaction(connection, context)

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


def _bind(connection: psycopg.Connection[DictRow], tenant_id: UUID) -> None:
    connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
