"""A bulk import and a long transaction: there for everybody at their commit, all of it, or never."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest

from services.journal.verify import verify
from services.shared.errors import Conflict
from services.shared.transaction import Database
from services.workload.imports import bulk, directory, long_open
from tests.services.conftest import Api, Platform


@pytest.fixture
def database(platform: Platform) -> Iterator[Database]:
    with directory(platform.dsn_of("directory")) as opened:
        yield opened


def test_a_bulk_import_is_one_transaction_with_an_event_for_each(
    api: Api, platform: Platform, database: Database
) -> None:
    tenant = UUID(api.found())

    people = bulk(database, tenant, seed=3, people=150)

    rows = platform.rows(
        "SELECT count(*) AS n, count(DISTINCT u.xmin::text) AS transactions, count(DISTINCT e.correlation_id) AS told "
        "FROM directory.users u JOIN directory.events e ON e.aggregate_id = u.id WHERE u.id = ANY(%s)",
        people,
    )
    assert rows == [{"n": 150, "transactions": 1, "told": 1}]
    with pytest.raises(Conflict):  # the same people again
        bulk(database, tenant, seed=3, people=150)
    assert platform.count("directory.users", str(tenant)) == 150
    assert [compared.table for compared in verify(platform.admin_dsn) if compared.differing] == []


def test_what_commits_meanwhile_is_recorded_in_between_and_seen_before(
    api: Api, platform: Platform, database: Database
) -> None:
    tenant = api.found()
    seen: list[int] = []

    def meanwhile() -> None:
        api.user()
        seen.append(platform.count("directory.users", tenant))

    before, after = long_open(database, UUID(tenant), 4, meanwhile)

    assert seen == [1]  # only what had committed
    recorded: dict[str, datetime] = {
        str(row["aggregate_id"]): row["recorded_at"]
        for row in platform.rows("SELECT aggregate_id, recorded_at FROM directory.events WHERE tenant_id = %s", tenant)
    }
    (short,) = recorded.keys() - {str(before), str(after), tenant}
    # recorded_at is no order of commits: the one in between was visible first.
    assert recorded[str(before)] < recorded[short] < recorded[str(after)]


def test_a_long_transaction_that_is_rolled_back_was_never_there(
    api: Api, platform: Platform, database: Database
) -> None:
    tenant = api.found()

    assert long_open(database, UUID(tenant), 5, lambda: None, roll_back=True) == []

    assert platform.count("directory.users", tenant) == 0
    assert platform.count("directory.events", tenant) == 1
