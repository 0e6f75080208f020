"""What leaves for the lake is listed, table by table and column by column."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from services import directory
from tests.services.conftest import Api

STATEMENT = (Path(directory.__file__).parent / "publication.sql").read_text("utf-8")
AT_HOME = {"login_identifiers", "idempotency_keys", "migrations"}


def test_every_table_is_published_whole_or_stays_at_home(own_api: Api) -> None:
    with psycopg.connect(own_api.platform.admin_dsn) as admin:
        admin.execute(STATEMENT)
        published = admin.execute(
            "SELECT tablename::text, attnames::text[] FROM pg_publication_tables WHERE pubname = 'rireki_directory'"
        ).fetchall()
        columns = admin.execute(
            "SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position) "
            "FROM information_schema.columns WHERE table_schema = 'directory' GROUP BY 1"
        ).fetchall()
        admin.rollback()

    told = {table: names for table, names in columns if table not in AT_HOME}
    assert dict(published) == told
    assert {table for table, _ in columns} - told.keys() == AT_HOME


@pytest.mark.parametrize("table", ["login_identifiers", "idempotency_keys"])
def test_an_email_address_is_kept_in_no_published_table(table: str) -> None:
    assert f"directory.{table}" not in STATEMENT.split("CREATE PUBLICATION")[1]
