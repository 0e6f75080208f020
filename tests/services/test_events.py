"""What an event means stays what it meant: schemas, upcasters, and one event of every version ever shipped.

A new event type or schema version has no golden event yet; write it with ``python -m tests.services.test_events``,
look at it, and commit it. A golden event and a schema that were shipped are never edited.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from infra.postgres import Postgres
from infra.state import StateFolder
from services.journal.fold import Event, upcast
from services.journal.schema import schema_of
from services.journal.services import JOURNALS, Journal
from services.migrate.apply import migrate
from services.shared.event import Aggregate, EventType
from tests.conftest import Database
from tests.services.auth.conftest import auth_on
from tests.services.auth.story import tell
from tests.services.conftest import PASSWORDS, Api, Assets, Platform, served

GOLDEN = Path(__file__).with_name("golden")
SHIPPED = GOLDEN / "shipped.json"  # schema file → SHA-256
CASES = [
    (journal, event, version)
    for journal in JOURNALS
    for event in journal.types
    for version in range(event.since, event.schema_version + 1)
]
IDS = [f"{event.name}.v{version}" for _, event, version in CASES]


def _golden(journal: Journal, event: EventType, version: int) -> Path:
    return GOLDEN / journal.schema / f"{event.name}.v{version}.json"


def _schema(journal: Journal, aggregate: Aggregate, version: int) -> Draft202012Validator:
    schema = json.loads((journal.states / f"{aggregate.type}.v{version}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def _event(told: dict[str, Any]) -> Event:
    return Event(
        told["aggregate_type"],
        UUID(told["aggregate_id"]),
        told["aggregate_version"],
        told["schema_version"],
        told["after"],
        datetime.fromisoformat(told["effective_at"]),
        datetime.fromisoformat(told["recorded_at"]),
    )


@pytest.mark.parametrize(("journal", "event", "version"), CASES, ids=IDS)
def test_every_version_ever_shipped_is_still_understood(journal: Journal, event: EventType, version: int) -> None:
    told = json.loads(_golden(journal, event, version).read_text("utf-8"))
    untouched = json.dumps(told)

    now = upcast(_event(told), journal.upcasters)

    assert (told["event_type"], told["schema_version"]) == (event.name, version)
    _schema(journal, event.aggregate, version).validate(told["after"])
    _schema(journal, event.aggregate, journal.version_of(event.aggregate)).validate(now)
    assert json.dumps(told) == untouched  # an upcaster makes a new state and leaves the old one alone
    assert now == upcast(_event(told), journal.upcasters)


def test_no_golden_event_is_left_over() -> None:
    expected = {_golden(*case) for case in CASES} | {SHIPPED}

    assert set(GOLDEN.rglob("*.json")) == expected


def test_a_schema_that_was_shipped_is_never_edited() -> None:
    shipped = json.loads(SHIPPED.read_text("utf-8"))

    assert _digests() == shipped, "a schema is new (add it to shipped.json) or was edited (make a new version instead)"


def test_an_upcaster_leads_from_every_version_to_the_next_and_no_further() -> None:
    for journal in JOURNALS:
        steps = {(a.type, version) for a in journal.aggregates for version in range(1, journal.version_of(a))}

        assert set(journal.upcasters) == steps


def test_events_of_one_aggregate_are_all_written_at_its_newest_version() -> None:
    assert {
        event.name
        for journal in JOURNALS
        for event in journal.types
        if event.schema_version != journal.version_of(event.aggregate)
    } == set()


def test_todays_schemas_are_those_of_the_tables(platform: Platform) -> None:
    with psycopg.connect(platform.admin_dsn) as connection:
        for journal in JOURNALS:
            for aggregate in journal.aggregates:
                version = journal.version_of(aggregate)

                assert _schema(journal, aggregate, version).schema == schema_of(connection, aggregate, version)


def _digests() -> dict[str, str]:
    return {
        f"{journal.schema}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for journal in JOURNALS
        for path in sorted(journal.states.glob("*.json"))
    }


def _one_of_each(assets: Assets) -> None:
    """Every command of directory and asset once, so that every event type is there."""
    from tests.services.chains import reorganise
    from tests.services.test_assets import test_every_event_type_is_written_and_carries_the_state_as_the_table_has_it
    from tests.services.test_commands import CASES as COMMANDS

    for case in COMMANDS.values():
        assets.found()
        path, body, version = case.prepare(assets.directory)
        assets.directory.do(path, body, version=version)
    assets.found()
    test_every_event_type_is_written_and_carries_the_state_as_the_table_has_it(assets)
    reorganise(assets)


def _write_missing() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="rireki-golden-"))
    folder.chmod(0o755)
    with StateFolder(folder / "state") as state, Postgres.start(state, durable=False) as server:
        server.create_database("golden")
        migrate(server.dsn("golden"), PASSWORDS)
        platform = Platform(Database(server, "golden"))
        with served(platform) as directory, served(platform, "asset") as asset:
            _one_of_each(Assets(Api(asset.http, platform), Api(directory.http, platform)))
        with auth_on(platform) as auth:
            tell(auth)
        for journal, event, version in CASES:
            path = _golden(journal, event, version)
            if path.exists() or version != event.schema_version:
                continue
            (row,) = platform.rows(
                f"SELECT to_jsonb(e) AS event FROM {journal.schema}.events e WHERE event_type = %s LIMIT 1", event.name
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row["event"], ensure_ascii=False, indent=2) + "\n", "utf-8")
            yield path
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for written in _write_missing():
        sys.stdout.write(f"{written}\n")
    SHIPPED.write_text(json.dumps({**_digests(), **json.loads(SHIPPED.read_text() or "{}")}, indent=2) + "\n")
