"""The platform's database in the embedded stack: made, migrated, published, and a role that may only read it.

Everything here is safe to repeat. What the platform shares is decided by the platform: its migrations and
each service's ``publication.sql`` are run as they are, never imported.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import LiteralString

from psycopg import sql

from cdc.publication import publication_exists
from cdc.source import Connection, rows
from infra.errors import ProgramFailed
from infra.postgres import Postgres
from infra.state import StateFolder

DATABASE = "platform"
PUBLICATION = "rireki_platform"
READER = "rireki"
SERVICES = ("directory", "asset", "auth")  # in this order: the first makes the publication, the others add their tables
_FOLDER = Path(__file__).parents[1] / "services"

_PUBLISHED_COLUMNS: LiteralString = """
    SELECT schemaname::text, tablename::text, attnames::text[] FROM pg_publication_tables WHERE pubname = %s
"""


def reader_password_file(folder: StateFolder) -> Path:
    """Where the capture role's password is, relative to the state folder."""
    folder.secret("postgres-rireki")
    return Path("secrets") / "postgres-rireki"


def prepare(server: Postgres, folder: StateFolder) -> None:
    """Raises ProgramFailed with what the migration said."""
    if not server.has_database(DATABASE):
        server.create_database(DATABASE)
    _migrate(server, folder)
    with server.connect(DATABASE) as connection:
        if not publication_exists(connection, PUBLICATION):
            with connection.transaction():
                for service in SERVICES:
                    connection.execute((_FOLDER / service / "publication.sql").read_bytes())
        _let_reader_in(connection, folder.secret("postgres-rireki"))


def service_environment(service: str, server: Postgres, folder: StateFolder, port: int) -> dict[str, str]:
    """What a service needs to know."""
    password = folder.secret(f"postgres-{service}")
    environment = {
        f"{service.upper()}_DSN": server.dsn(DATABASE, user=service, password=password),
        f"{service.upper()}_TOKEN": folder.secret(f"{service}-token"),
    }
    if service == "auth":
        key = hashlib.sha256(folder.secret("auth-master-key").encode()).digest()
        environment["AUTH_MASTER_KEY"] = base64.b64encode(key).decode()
        environment["AUTH_ISSUER"] = f"http://localhost:{port}"  # by name: passkeys aren't bound to a bare number
    return environment


def journal_environment(server: Postgres) -> dict[str, str]:
    """What the journal needs to know: an administrator's login, for it compares every tenant's rows."""
    return {"PLATFORM_DSN": server.dsn(DATABASE)}


def _migrate(server: Postgres, folder: StateFolder) -> None:
    passwords = {f"{service.upper()}_PASSWORD": folder.secret(f"postgres-{service}") for service in SERVICES}
    environment = {"PLATFORM_DSN": server.dsn(DATABASE), **passwords}
    done = subprocess.run(
        [sys.executable, "-m", "services.migrate"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ProgramFailed(done.stderr.strip(), subject="services.migrate")


def _let_reader_in(connection: Connection, password: str) -> None:
    """REPLICATION to follow, BYPASSRLS so that a copy sees every tenant's rows, SELECT on published columns only."""
    role = sql.Identifier(READER)
    if not rows(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", READER):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION BYPASSRLS").format(role))
    # Sent as a verifier, so that no log of statements ever holds the password.
    verifier = connection.pgconn.encrypt_password(password.encode(), READER.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier)))
    for schema, table, columns in rows(connection, _PUBLISHED_COLUMNS, PUBLICATION):
        assert isinstance(columns, list)
        connection.execute(
            sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ({columns}) ON {table} TO {role}").format(
                schema=sql.Identifier(str(schema)),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
                table=sql.Identifier(str(schema), str(table)),
                role=role,
            )
        )
