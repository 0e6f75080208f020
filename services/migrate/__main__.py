"""``python -m services.migrate [--dsn DSN] [--password-file ROLE=FILE …] [--json]``.

Exit codes: 0 done, 2 refused or failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

from services.migrate.apply import migrate
from services.migrate.files import FOLDERS, MigrationRefused


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
