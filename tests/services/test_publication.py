"""What leaves for the lake is listed, table by table and column by column."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

import services
from tests.services.conftest import Api

FOLDER = Path(services.__file__).parent
PUBLISHING = ("directory", "asset", "auth")
AT_HOME = {
    "directory": {"login_identifiers", "idempotency_keys", "migrations"},
    "asset": {"idempotency_keys", "migrations"},
    # What proves something, what encrypts something, and what changes with every request.
    "auth": {
        *("clients", "client_secrets", "signing_keys", "signing_key_secrets", "session_handles", "codes"),
        *("refresh_tokens", "passwords", "totp_seeds", "webauthn_credentials", "recovery_codes", "enrolments"),
        *("upstream_secrets", "subject_keys", "event_secrets", "idempotency_keys", "migrations"),
    },
}


def _statement(service: str) -> str:
    return (FOLDER / service / "publication.sql").read_text("utf-8")


def test_every_table_is_published_whole_or_stays_at_home(own_api: Api) -> None:
    with psycopg.connect(own_api.platform.admin_dsn) as admin:
        for service in PUBLISHING:
            admin.execute(_statement(service).encode())
        published = admin.execute(
            "SELECT schemaname || '.' || tablename, attnames::text[] FROM pg_publication_tables "
            "WHERE pubname = 'rireki_platform'"
        ).fetchall()
        columns = admin.execute(
            "SELECT table_schema || '.' || table_name, array_agg(column_name::text ORDER BY ordinal_position) "
            "FROM information_schema.columns WHERE table_schema = ANY(%s) GROUP BY 1",
            (list(PUBLISHING),),
        ).fetchall()
        admin.rollback()

    at_home = {f"{service}.{table}" for service, tables in AT_HOME.items() for table in tables}
    assert dict(published) == {table: names for table, names in columns if table not in at_home}
    assert {table for table, _ in columns} - dict(published).keys() == at_home


@pytest.mark.parametrize("service", PUBLISHING)
@pytest.mark.parametrize("table", ["login_identifiers", "idempotency_keys"])
def test_an_email_address_is_kept_in_no_published_table(table: str, service: str) -> None:
    assert f"{service}.{table}" not in _statement(service).split("PUBLICATION", 1)[1]
