"""``make replay``: a million events, folded, are the state tables; also as of an instant in between.

Rows and events are written by the database itself, in rounds: each changes every user and tells it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psycopg

from infra.postgres import Postgres
from infra.state import StateFolder
from services.directory.events import USER
from services.journal import read
from services.journal.fold import fold
from services.journal.services import JOURNALS
from services.journal.verify import verify
from services.migrate.apply import migrate
from tests.services.conftest import PASSWORDS

_TENANT = "00000000-0000-4000-8000-0000000000aa"
_PLAN = json.dumps({"actor_type": "system", "actor_id": "x", "request_id": "x", "correlation_id": _TENANT})


def write(dsn: str, users: int, rounds: int) -> datetime:
    """Returns an instant between two rounds, half-way; state at it is version ``rounds // 2`` of everybody."""
    between: datetime | None = None
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("SELECT set_config('app.reorganised', %s, false)", (f"{{{_TENANT}}}",))
        with admin.transaction():
            admin.execute(
                "INSERT INTO directory.tenants (tenant_id, name, kana, version) VALUES (%s, 'x', 'x', 1)", (_TENANT,)
            )
            admin.execute(
                "SELECT journal.tell(%s, 'directory', 'tenants', 'tenant_id', 'tenant', 2, 'tenant.created', "
                "ARRAY[%s::uuid])",
                (_PLAN, _TENANT),
            )
        for number in range(1, rounds + 1):
            with admin.transaction():
                if number == 1:
                    admin.execute(
                        "INSERT INTO directory.users (id, tenant_id, name, kana, status, is_pharmacist, version) "
                        "SELECT gen_random_uuid(), %s, '佐藤 ' || n, 'サトウ', 'active', n %% 2 = 0, 1 "
                        "FROM generate_series(1, %s) AS n",
                        (_TENANT, users),
                    )
                else:
                    admin.execute(
                        "UPDATE directory.users SET name = '佐藤 ' || %s, version = version + 1, updated_at = now()",
                        (number,),
                    )
                admin.execute(
                    "SELECT journal.tell(%s, 'directory', 'users', 'id', 'user', 1, %s, array_agg(id)) "
                    "FROM directory.users",
                    (_PLAN, "user.invited" if number == 1 else "user.renamed"),
                )
            if number == rounds // 2:
                row = admin.execute("SELECT clock_timestamp()").fetchone()
                assert row is not None
                between = row[0]
        admin.execute("ANALYZE directory.events")
    assert between is not None
    return between


def versions_known_at(dsn: str, at: datetime) -> set[int]:
    (journal,) = (journal for journal in JOURNALS if journal.schema == "directory")
    with read.snapshot(dsn) as connection:
        states = fold(read.events(connection, USER), journal.upcasters, known_at=at)
        return {int(state["version"]) for _, state in states}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make replay", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10, help="versions of each user")
    given = parser.parse_args()
    print(f"{machine.platform()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="rireki-replay-") as folder:
        Path(folder).chmod(0o755)
        with StateFolder(Path(folder) / "state") as state, Postgres.start(state, durable=False) as server:
            server.create_database("platform")
            dsn = server.dsn("platform")
            migrate(dsn, PASSWORDS)
            began = time.monotonic()
            between = write(dsn, given.events // given.rounds, given.rounds)
            written = time.monotonic()
            compared = [one for one in verify(dsn) if one.events]
            verified = time.monotonic()
            half = versions_known_at(dsn, between)
            ended = time.monotonic()
    events, rows = sum(one.events for one in compared), sum(one.rows for one in compared)
    differing = sum(one.differing for one in compared)
    print(
        f"{events} events of {rows} rows, written in {written - began:.0f} s\n"
        f"folded and compared in {verified - written:.1f} s ({events / (verified - written):,.0f} events/s): "
        f"{differing} rows differ; {' '.join(f'{one.table}={one.digest}' for one in compared)}\n"
        f"as known half-way, in {ended - verified:.1f} s: version {half} of every user"
    )
    return 0 if differing == 0 and half == {given.rounds // 2} else 1


if __name__ == "__main__":
    sys.exit(main())
