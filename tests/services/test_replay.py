"""fold(events) = state, at every instant, as valid and as known; and rows that have no events get them."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.postgres import Postgres
from services.journal.__main__ import main
from services.journal.backfill import backfill
from services.journal.fold import Event, fold
from services.journal.verify import verify
from services.migrate.apply import migrate
from services.migrate.files import FOLDERS
from services.workload.run import Plan, run
from tests.conftest import Database
from tests.services.conftest import PASSWORDS, TOKEN, Assets, Platform, cloned, served

START = datetime(2026, 4, 1, tzinfo=UTC)
THING = UUID(int=1)


def _day(number: int) -> datetime:
    return START + timedelta(days=number)


@st.composite
def _histories(draw: st.DrawFn) -> list[Event]:
    """One aggregate: recorded day by day, each change effective on any day."""
    state = {"a": 0, "b": 0, "c": 0}
    events = []
    for version in range(1, draw(st.integers(1, 8)) + 1):
        state = {**state, draw(st.sampled_from("abc")): draw(st.integers(1, 9))}
        effective = 0 if version == 1 else draw(st.integers(0, 12))
        events.append(Event("thing", THING, version, 1, dict(state), _day(effective), _day(version)))
    return events


def _brute_force(events: list[Event], valid_at: datetime, known_at: datetime) -> dict[str, Any] | None:
    """Column by column: the value of the last recorded change of it that is known and counts."""
    known = [event for event in events if event.recorded_at <= known_at]
    if not known or known[0].effective_at > valid_at:
        return None
    state = dict(known[0].after)
    for before, event in itertools.pairwise(known):
        if event.effective_at <= valid_at:
            state |= {name: value for name, value in event.after.items() if value != before.after[name]}
    return state


@given(_histories(), st.integers(0, 12), st.integers(0, 9))
@settings(max_examples=300, print_blob=True)
def test_a_fold_is_what_was_valid_then_as_far_as_it_was_known(events: list[Event], valid: int, known: int) -> None:
    folded = dict(fold(events, {}, valid_at=_day(valid), known_at=_day(known)))

    assert folded.get(("thing", THING)) == _brute_force(events, _day(valid), _day(known))


@given(_histories())
@settings(max_examples=100, print_blob=True)
def test_a_fold_of_everything_is_the_last_state(events: list[Event]) -> None:
    assert dict(fold(events, {})) == {("thing", THING): events[-1].after}


@given(_histories(), st.integers(0, 9))
@settings(max_examples=100, print_blob=True)
def test_what_is_recorded_later_changes_nothing_that_was_known(events: list[Event], known: int) -> None:
    earlier = [event for event in events if event.recorded_at <= _day(known)]

    assert dict(fold(events, {}, known_at=_day(known))) == dict(fold(earlier, {}))


def test_an_old_schema_version_is_folded_in_todays_words() -> None:
    old = Event("thing", THING, 1, 1, {"name": "x"}, _day(0), _day(0))
    new = replace(
        old, aggregate_version=2, schema_version=2, after={"name": "y", "closed": False}, effective_at=_day(5)
    )
    upcasters = {("thing", 1): lambda after: {**after, "closed": False}}

    assert dict(fold([old, new], upcasters, valid_at=_day(1))) == {("thing", THING): {"name": "x", "closed": False}}
    assert dict(fold([old, new], upcasters)) == {("thing", THING): {"name": "y", "closed": False}}


@pytest.fixture(scope="module")
def driven(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Platform, Any]]:
    """A platform after a day's work, and the workload's own record of it."""
    oracle = tmp_path_factory.mktemp("replay") / "oracle.json"
    with cloned(postgres, template) as platform, served(platform) as api:
        plan = Plan(str(api.http.base_url), TOKEN, 3, 300, tenants=2, oracle_file=oracle)
        run(plan, threading.Event())
        yield platform, json.loads(oracle.read_text("utf-8"))


def test_the_events_of_a_days_work_are_its_state(driven: tuple[Platform, Any]) -> None:
    compared = verify(driven[0].admin_dsn)

    assert {table.table: table.differing for table in compared} == {table.table: 0 for table in compared}
    directory = [table for table in compared if table.table.startswith("directory.")]
    assert all(0 < table.rows <= table.events for table in directory)


def test_a_row_changed_behind_its_events_is_found(
    postgres: Postgres, template: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with cloned(postgres, template) as platform:
        with served(platform) as api:
            api.found()
            user = api.user()
        with psycopg.connect(platform.admin_dsn) as admin:
            admin.execute("SET LOCAL session_replication_role = replica")  # past the trigger that would refuse it
            admin.execute("UPDATE directory.users SET name = 'x'")

        code = main(["verify", "--dsn", platform.admin_dsn])

    told = {line["table"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert code == 1
    assert (told["directory.users"]["differing"], told["directory.users"]["examples"]) == (1, [user["id"]])
    assert told["directory.tenants"]["differing"] == 0


def test_replay_to_each_of_the_oracles_moments_is_what_the_workload_knew(
    driven: tuple[Platform, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    platform, oracle = driven

    def known(aggregate: str, at: str, id: str | None = None) -> list[dict[str, Any]]:
        arguments = ["replay", aggregate, "--known-at", at, "--dsn", platform.admin_dsn]
        assert main([*arguments, *(["--id", id] if id else [])]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    for moment in oracle["moments"]:
        (user,) = known("directory.user", moment["at"], oracle["user_id"])
        belongs = [
            m
            for m in known("directory.membership", moment["at"])
            if m["user_id"] == oracle["user_id"] and m["valid_to"] is None
        ]
        granted = [
            g
            for g in known("directory.role_grant", moment["at"])
            if g["user_id"] == oracle["user_id"] and g["revoked_at"] is None
        ]

        assert user["status"] == moment["access"]["status"]
        assert sorted(m["pharmacy_id"] for m in belongs) == [m["pharmacy_id"] for m in moment["access"]["memberships"]]
        assert sorted((g["role"], g["pharmacy_id"]) for g in granted) == sorted(
            (g["role"], g["pharmacy_id"]) for g in moment["access"]["roles"]
        )


def test_a_back_dated_hand_over_counts_from_its_day_and_is_known_from_its_recording(assets: Assets) -> None:
    api = assets.directory
    first, second = api.organisation(name="A"), api.organisation(name="B")
    registered = "2026-01-01T00:00:00+09:00"
    pharmacy = api.pharmacy(first, effective_at=registered)
    before = datetime.now(UTC)
    transfer = {"organisation_id": second["id"], "effective_at": "2026-04-01T00:00:00+09:00"}
    api.do(f"/v1/pharmacies/{pharmacy['id']}/transfer", transfer, version=1)

    def runs(valid_at: str | None, known_at: datetime | None) -> str:
        with psycopg.connect(assets.platform.admin_dsn) as connection:
            events = [
                Event(*row)
                for row in connection.execute(
                    "SELECT aggregate_type, aggregate_id, aggregate_version, schema_version, after, effective_at, "
                    "recorded_at FROM directory.events WHERE aggregate_id = %s ORDER BY aggregate_version",
                    (pharmacy["id"],),
                )
            ]
        valid = datetime.fromisoformat(valid_at) if valid_at else None
        ((_, state),) = fold(events, {}, valid_at=valid, known_at=known_at)
        return str(state["organisation_id"])

    assert runs("2026-03-31T23:59:59+09:00", None) == first["id"]
    assert runs("2026-04-01T00:00:00+09:00", None) == second["id"]
    assert runs("2026-05-01T00:00:00+09:00", before) == first["id"]  # nobody knew yet
    assert runs(None, None) == second["id"]


def _old_platform(database: Database, tmp_path: Path) -> None:
    """As it was before pharmacies had a table of codes, with rows that nobody told of."""
    copies = []
    for folder in FOLDERS:
        shutil.copytree(
            folder.path, tmp_path / folder.schema, ignore=shutil.ignore_patterns("*.py", "__pycache__", "guard.sql")
        )
        copies.append(replace(folder, path=tmp_path / folder.schema))
    for path in (tmp_path / "directory" / "migrations").glob("*.sql"):
        if path.name > "0013":
            path.unlink()
    for later in ("asset", "auth"):
        shutil.rmtree(tmp_path / later / "migrations")
    migrate(database.dsn, PASSWORDS, copies)
    with database.connect() as admin:
        admin.execute("SET session_replication_role = replica")
        for _ in range(2):
            tenant, root = uuid4(), uuid4()
            admin.execute(
                "INSERT INTO directory.tenants (tenant_id, name, kana, version) VALUES (%s, '古', 'フル', 3)", (tenant,)
            )
            parent = None
            for id in (root, *(uuid4() for _ in range(4))):  # a tree that is deep, its ids in no order
                admin.execute(
                    "INSERT INTO directory.organisations (id, tenant_id, parent_id, kind, name, kana, version) "
                    "VALUES (%s, %s, %s, 'area', 'x', 'x', 1)",
                    (id, tenant, parent),
                )
                parent = id
            for number in range(3):
                admin.execute(
                    "INSERT INTO directory.pharmacies (id, tenant_id, organisation_id, name, kana, code, "
                    "code_valid_from, prefecture, opened_on, version) "
                    "VALUES (gen_random_uuid(), %s, %s, 'x', 'x', %s, '2020-04-01', '東京都', '2020-04-01', 1)",
                    (tenant, root, f"{number:010d}"),
                )


class _Interrupted(Exception):
    pass


def test_rows_that_were_there_before_their_events_get_them_in_order_also_after_an_interruption(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _old_platform(database, tmp_path)
    migrate(database.dsn, {})
    assert {t.table: t.differing for t in verify(database.dsn) if t.differing} == {
        "directory.tenants": 2,
        "directory.organisations": 10,
        "directory.pharmacies": 6,
        "directory.pharmacy_codes": 6,
    }
    batches = iter(range(3))

    def interrupt(*_: object) -> None:
        if next(batches, None) is None:
            raise _Interrupted

    with pytest.raises(_Interrupted):
        backfill(database.dsn, batch_rows=2, tell=interrupt)
    assert main(["backfill", "--batch-rows", "2", "--dsn", database.dsn]) == 0
    assert main(["backfill", "--dsn", database.dsn]) == 0

    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {}
    assert [table for table in verify(database.dsn) if table.differing] == []
    events = database.rows(
        "SELECT aggregate_type, aggregate_id::text, after ->> 'parent_id', origin, aggregate_version "
        "FROM directory.events ORDER BY recorded_at"
    )
    kinds = [kind for kind, *_ in events]
    assert kinds == sorted(kinds, key=["tenant", "organisation", "pharmacy", "pharmacy_code"].index)
    assert {origin for *_, origin, _ in events} == {"backfill"}
    assert {version for kind, *_, version in events if kind == "tenant"} == {3}
    told: set[str] = set()
    for kind, id, parent, *_ in events:
        if kind == "organisation":
            assert parent is None or parent in told
            told.add(id)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["verify"], "--dsn"),
        (["verify", "--dsn", "postgresql://nobody@127.0.0.1:1/none"], "fix:"),
        (["replay", "directory.nothing", "--dsn", "x"], "one of: directory.tenant"),
    ],
)
def test_the_command_line_ends_with_2_and_a_fix(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLATFORM_DSN", raising=False)

    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_role_that_row_security_binds_is_refused_and_not_told_that_all_is_well(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--dsn", platform.dsn_of("directory")]) == 2
    assert "row security binds it" in capsys.readouterr().err
