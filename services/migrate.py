"""Bring a database to the state that the SQL files describe: ``python -m services.migrate --dsn OWNER_DSN``.

Two kinds of files. ``roles.sql`` of each folder is run every time, as the administrator who is logged in: roles belong
to the server. ``migrations/NNNN_*.sql`` are each run once, in a transaction of their own, as ``platform_owner``; the
history is in the table ``migrations`` of the schema that the folder belongs to, with a checksum of each file. A file
that was applied and has changed since is refused. One migration at a time (advisory lock); running it again is safe.

Passwords of roles that log in: ``DIRECTORY_PASSWORD`` in the environment, or ``--password-file directory=FILE``. Needed
when the role is new; given later, they replace the old one. They go to the server as SCRAM verifiers, never in plain.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

_HERE = Path(__file__).parent
_NAME = re.compile(r"\A([0-9]{4})_[a-z0-9_]+\.sql\Z")
_LOCK = 0x72_69_72_65_6B_69  # "rireki": one migration per database at a time
OWNER = "platform_owner"


@dataclass(frozen=True, slots=True)
class Folder:
    """SQL of one service: its schema's history, and the role that logs in, if one does."""

    path: Path
    schema: str
    login_role: str | None = None


FOLDERS = (
    Folder(_HERE / "shared", "rls"),
    Folder(_HERE / "directory", "directory", login_role="directory"),
)


class MigrationRefused(Exception):
    """``what`` is wrong with ``subject``, and the ``fix``. What was applied before stays applied."""

    def __init__(self, what: str, *, subject: str, fix: str) -> None:
        super().__init__(f"{subject}: {what}")
        self.what = what
        self.subject = subject
        self.fix = fix


@dataclass(slots=True)
class Outcome:
    applied: list[str] = field(default_factory=list)
    already_applied: int = 0
    roles_created: list[str] = field(default_factory=list)
    passwords_set: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class File:
    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrate(dsn: str, passwords: Mapping[str, str], folders: Sequence[Folder] = FOLDERS) -> Outcome:
    """Apply what is missing. Raises MigrationRefused, or psycopg.Error from the server."""
    outcome = Outcome()
    with psycopg.connect(dsn, autocommit=True, application_name="services.migrate") as connection:
        connection.execute("SET client_min_messages = 'warning'")
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        _make_roles(connection, folders, passwords, outcome)
        for folder in folders:
            _apply(connection, folder, outcome)
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
    files = _files(folder)
    _refuse_rewritten_history(folder, history, files)
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


def _become_owner(connection: psycopg.Connection) -> None:
    connection.execute(
        sql.SQL("SET LOCAL ROLE {}; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '5min'").format(
            sql.Identifier(OWNER)
        )
    )


def _files(folder: Folder) -> list[File]:
    files: dict[int, File] = {}
    for path in sorted((folder.path / "migrations").glob("*.sql")):
        match = _NAME.match(path.name)
        if match is None:
            raise MigrationRefused(
                "not a migration's name", subject=f"{folder.schema}/{path.name}", fix="call it NNNN_what_it_does.sql"
            )
        file = File(int(match[1]), path.name, path.read_text("utf-8"))
        if file.number in files:
            raise MigrationRefused(
                f"has the number of {files[file.number].name}",
                subject=f"{folder.schema}/{file.name}",
                fix="give it the next free number",
            )
        files[file.number] = file
    return [files[number] for number in sorted(files)]


def _refuse_rewritten_history(folder: Folder, history: Mapping[int, tuple[str, str]], files: Sequence[File]) -> None:
    present = {file.number: file for file in files}
    for number, (name, checksum) in history.items():
        subject = f"{folder.schema}/{name}"
        if number not in present:
            raise MigrationRefused(
                "was applied here and is gone", subject=subject, fix="restore the file, or use a release that has it"
            )
        if present[number].checksum != checksum:
            raise MigrationRefused(
                "was changed after it was applied", subject=subject, fix="restore it and put the change into a new file"
            )
    latest = max(history, default=0)
    for file in files:
        if file.number not in history and file.number < latest:
            raise MigrationRefused(
                f"comes before {latest:04d}, which is applied already",
                subject=f"{folder.schema}/{file.name}",
                fix="give it the next free number",
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


def _passwords(password_files: Sequence[str]) -> dict[str, str]:
    passwords = {
        folder.login_role: os.environ[f"{folder.login_role.upper()}_PASSWORD"]
        for folder in FOLDERS
        if folder.login_role and os.environ.get(f"{folder.login_role.upper()}_PASSWORD")
    }
    for entry in password_files:
        role, equals, path = entry.partition("=")
        if not equals:
            raise MigrationRefused(
                "not ROLE=FILE", subject=f"--password-file {entry}", fix="e.g. directory=/run/secrets/directory"
            )
        try:
            passwords[role] = Path(path).read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise MigrationRefused(str(error.strerror), subject=path, fix="check the path and its rights") from error
        if not passwords[role]:
            raise MigrationRefused("the file is empty", subject=path, fix="write the password into it")
    return passwords


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 refused or failed."""
    parser = argparse.ArgumentParser(prog="python -m services.migrate", description="Migrate the platform's database.")
    parser.add_argument(
        "--dsn", default=os.environ.get("PLATFORM_DSN"), help="an administrator's; default $PLATFORM_DSN"
    )
    parser.add_argument("--password-file", action="append", default=[], metavar="ROLE=FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        if not given.dsn:
            raise MigrationRefused("missing", subject="--dsn", fix="give --dsn, or set PLATFORM_DSN")
        outcome = migrate(given.dsn, _passwords(given.password_file))
    except MigrationRefused as error:
        return _failed(error.subject, error.what, error.fix, given.json)
    except psycopg.OperationalError as error:
        return _failed("database", str(error).strip(), "check the DSN and that PostgreSQL runs", given.json)
    except psycopg.Error as error:
        return _failed("database", str(error).strip(), "correct the migration; those before it are applied", given.json)
    if given.json:
        sys.stdout.write(
            json.dumps(
                {
                    "applied": outcome.applied,
                    "already_applied": outcome.already_applied,
                    "roles_created": outcome.roles_created,
                    "passwords_set": outcome.passwords_set,
                }
            )
            + "\n"
        )
    else:
        for name in outcome.applied:
            sys.stdout.write(f"applied {name}\n")
        sys.stdout.write(f"{len(outcome.applied)} applied, {outcome.already_applied} were there already\n")
    return 0


def _failed(subject: str, what: str, fix: str, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps({"error": {"what": what, "subject": subject, "fix": fix}}) + "\n")
    sys.stderr.write(f"{subject}: {what}\n  fix: {fix}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
