"""Every random instant that the workload remembers, by the events: as known then, and as valid on an earlier day."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from infra.postgres import Postgres
from services.directory.events import PHARMACY
from services.journal import read
from services.journal.fold import Event, fold
from services.journal.services import JOURNALS, Journal
from services.journal.verify import verify
from services.shared.event import Aggregate
from services.workload.run import Plan, run
from tests.oracle import TABLES, differences
from tests.services.conftest import TOKEN, Platform, cloned, served

TOKYO = timezone(timedelta(hours=9))


@dataclass
class Events:
    """All events of the platform, folded anew for each question."""

    events: dict[str, tuple[Journal, list[Event]]]

    @classmethod
    def of(cls, platform: Platform) -> Events:
        found: dict[str, tuple[Journal, list[Event]]] = {}
        with read.snapshot(platform.admin_dsn) as connection:
            for journal in JOURNALS:
                for aggregate in journal.aggregates:
                    found[f"{aggregate.schema}.{aggregate.table}"] = (
                        journal,
                        list(read.events(connection, aggregate)),
                    )
        return cls(found)

    def rows(self, at: str, tenant: str, table: str) -> list[dict[str, Any]]:
        journal, events = self.events[table]
        states = fold(events, journal.upcasters, known_at=datetime.fromisoformat(at))
        return [state for _, state in states if state["tenant_id"] == tenant]

    def valid(self, aggregate: Aggregate, id: str, known_at: str, valid_at: datetime) -> dict[str, Any] | None:
        journal, events = self.events[f"{aggregate.schema}.{aggregate.table}"]
        own = [event for event in events if str(event.aggregate_id) == id]
        told = fold(own, journal.upcasters, known_at=datetime.fromisoformat(known_at), valid_at=valid_at)
        return next((state for _, state in told), None)


@dataclass
class Driven:
    platform: Platform
    told: dict[str, Any]
    instants: list[dict[str, Any]]
    events: Events


@pytest.fixture(scope="module")
def driven(postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    file = tmp_path_factory.mktemp("oracle") / "oracle.json"
    with cloned(postgres, template) as platform, served(platform) as api, served(platform, "asset") as asset:
        plan = Plan(str(api.http.base_url), TOKEN, seed=7, changes=420, tenants=3, oracle_file=file)
        told = run(replace(plan, asset_url=str(asset.http.base_url), asset_token=TOKEN), threading.Event())
        yield Driven(platform, told, json.loads(file.read_text("utf-8"))["instants"], Events.of(platform))


def test_the_events_tell_every_instant_as_the_oracle_knows_it(driven: Driven) -> None:
    assert len(driven.instants) == 36
    assert len({instant["at"] for instant in driven.instants}) == 36
    assert [told for instant in driven.instants for told in differences(instant, driven.events)] == []


def test_what_was_back_dated_counts_from_its_day_as_far_as_it_was_known(driven: Driven) -> None:
    asked = [(instant, valid) for instant in driven.instants for valid in instant["valid"]]

    for instant, valid in asked:
        day = datetime.fromisoformat(valid["on"]).replace(tzinfo=TOKYO)
        state = driven.events.valid(PHARMACY, valid["pharmacy_id"], instant["at"], day)
        assert (state and state["organisation_id"]) == valid["organisation_id"], (instant["at"], valid)

    assert {valid["organisation_id"] is None for _, valid in asked} == {True, False}


def test_an_oracle_that_is_wrong_is_noticed(driven: Driven) -> None:
    last = max(driven.instants, key=lambda instant: str(instant["at"]))
    for key in ("users", "organisations", "pharmacies", "devices", "seats"):
        wrong = json.loads(json.dumps(last))
        id = next(iter(wrong[key]))
        wrong[key][id] = "otherwise" if key == "organisations" else {**wrong[key][id], "status": "x", "code": "x"}

        assert differences(wrong, driven.events), key


def test_the_assets_have_their_day_too(driven: Driven) -> None:
    done = driven.told["commands"]

    assert {"sign_contract", "issue_license", "register_device", "assign_seat", "release_seat"} <= done.keys()
    assert {"move_device", "lose_device", "retire_device"} <= done.keys()
    assert [compared.table for compared in verify(driven.platform.admin_dsn) if compared.differing] == []
    assert all(driven.events.events[table][1] for table in TABLES)
