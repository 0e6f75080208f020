"""Roles, then each file once, then the question whether row security has forgotten anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from services.migrate.files import FOLDERS, Folder, MigrationRefused, files_of, refuse_rewritten_history
from services.shared.proof import ContextKey

_LOCK = 0x72_69_72_65_6B_69  # "rireki": one migration per database at a time
OWNER = "platform_owner"


@dataclass(slots=True)
class Outcome:
    applied: list[str] = field(default_factory=list)
    already_applied: int = 0
    roles_created: list[str] = field(default_factory=list)
    passwords_set: list[str] = field(default_factory=list)


def migrate(dsn: str, passwords: Mapping[str, str], folders: Sequence[Folder] = FOLDERS) -> Outcome:
    """Apply what is missing. Raises MigrationRefused, or psycopg.Error from the server."""
    outcome = Outcome()
    with psycopg.connect(dsn, autocommit=True, application_name="services.migrate") as connection:
        connection.execute("SET client_min_messages = 'warning'")
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        _make_roles(connection, folders, passwords, outcome)
        for folder in folders:
            _apply(connection, folder, outcome)
        for folder in folders:
            _guard(connection, folder)
        _tell_context_keys(connection, passwords)
        _refuse_unprotected(connection, folders)
    return outcome


def _make_roles(
    connection: psycopg.Connection, folders: Sequence[Folder], passwords: Mapping[str, str], outcome: Outcome
) -> None:
    logins = [folder.login_role for folder in folders if folder.login_role is not None]
    existing = {
        str(row[0]) for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (logins,))
    }
    for unknown in passwords.keys() - set(logins):
        raise MigrationRefused("no such role", subject=unknown, fix=f"one of: {', '.join(logins)}")
    for role in logins:
        if role not in existing and role not in passwords:
            raise MigrationRefused(
                "the role is new and has no password",
                subject=f"role {role}",
                fix=f"set {role.upper()}_PASSWORD, or give --password-file {role}=FILE",
            )
    with connection.transaction():
        for folder in folders:
            roles = folder.path / "roles.sql"
            if roles.exists():
                connection.execute(roles.read_bytes())
        for role, password in passwords.items():
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))
    outcome.roles_created = [role for role in logins if role not in existing]
    outcome.passwords_set = sorted(passwords)


def _apply(connection: psycopg.Connection, folder: Folder, outcome: Outcome) -> None:
    with connection.transaction():
        _become_owner(connection)
        connection.execute(
            sql.SQL(
                """
                CREATE SCHEMA IF NOT EXISTS {schema};
                CREATE TABLE IF NOT EXISTS {schema}.migrations (
                    number integer PRIMARY KEY,
                    name text NOT NULL,
                    checksum text NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT now()
                );
                COMMENT ON TABLE {schema}.migrations IS 'rls:exempt history of this schema, belongs to no tenant';
                """
            ).format(schema=sql.Identifier(folder.schema))
        )
        history = {
            int(row[0]): (str(row[1]), str(row[2]))
            for row in connection.execute(
                sql.SQL("SELECT number, name, checksum FROM {}.migrations").format(sql.Identifier(folder.schema))
            )
        }
    files = files_of(folder)
    refuse_rewritten_history(folder, history, files)
    for file in files:
        if file.number in history:
            outcome.already_applied += 1
            continue
        with connection.transaction():
            _become_owner(connection)
            connection.execute(file.text.encode())
            connection.execute(
                sql.SQL("INSERT INTO {}.migrations (number, name, checksum) VALUES (%s, %s, %s)").format(
                    sql.Identifier(folder.schema)
                ),
                (file.number, file.name, file.checksum),
            )
        outcome.applied.append(f"{folder.schema}/{file.name}")


def _guard(connection: psycopg.Connection, folder: Folder) -> None:
    """``guard.sql``, after all migrations: older ones fill a table before its policy."""
    guard = folder.path / "guard.sql"
    if guard.exists():
        with connection.transaction():
            connection.execute(guard.read_bytes())


def _tell_context_keys(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """By what a service proves its tenant, made from its password; the key before stays good."""
    with connection.transaction():
        _become_owner(connection)
        for role, password in passwords.items():
            inner, outer = ContextKey.of(role, password).padded
            connection.execute(
                "INSERT INTO rls.context_keys (role, inner_key, outer_key) VALUES (%s, %s, %s) "
                "ON CONFLICT (role, inner_key) DO UPDATE SET set_at = clock_timestamp()",
                (role, inner, outer),
            )
            connection.execute(
                "DELETE FROM rls.context_keys WHERE role = %s AND set_at NOT IN "
                "(SELECT set_at FROM rls.context_keys WHERE role = %s ORDER BY set_at DESC LIMIT 2)",
                (role, role),
            )


def _become_owner(connection: psycopg.Connection) -> None:
    connection.execute(
        sql.SQL("SET LOCAL ROLE {}; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '5min'").format(
            sql.Identifier(OWNER)
        )
    )


def _refuse_unprotected(connection: psycopg.Connection, folders: Sequence[Folder]) -> None:
    lacking = [
        f"{folder.schema}.{row[0]} lacks {row[1]}"
        for folder in folders
        for row in connection.execute("SELECT relation, lacks FROM rls.unprotected(%s)", (folder.schema,))
    ]
    if lacking:
        raise MigrationRefused(
            "; ".join(lacking),
            subject="row security",
            fix="add it in a new migration, or say why not: COMMENT ON TABLE … IS 'rls:exempt <reason>'",
        )
