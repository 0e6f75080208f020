"""Dagster's view of a stream: the graph, the checks, the jobs and the sensors, on a real source and a real lake."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from cdc.relation import TableName
from cdc.slot import drop_slot
from pipelines import config as configuration
from pipelines.asset_keys import asset_key
from pipelines.definitions import defs
from pipelines.defs.assets import asset_graph
from pipelines.defs.checks import promise_kept, rows_by_value, stream_health
from pipelines.defs.sensors import heartbeat, lag_alerts
from pipelines.known_tables import known_tables
from pipelines.lag import lag_seconds
from pipelines.progress import Copied
from pipelines.run_retention import purge_runs
from pipelines.status import status_of
from tests.conftest import Database
from tests.end_to_end.conftest import Pipeline, wait_until

ROOT = Path(__file__).parents[2]
T = TableName("public", "t")
STREAM = dg.AssetKey(["cdc", "stream"])
CURRENT = dg.AssetKey(["current", "public", "t"])


@pytest.fixture
def watched(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A stream with one table of three rows, which Dagster's definitions find; nobody captures yet."""
    name = database.name
    file = tmp_path / "rireki.toml"
    file.write_text(
        f'[source]\ndsn = "{database.dsn}"\n[stream]\nname = "{name}"\n[lake]\nurl = "lake"\n'
        "[capture]\nmax_fill_ms = 50\nidle_cut_seconds = 1\n[alerts]\nlag_seconds = 2\n"
    )
    monkeypatch.setenv("RIREKI_CONFIG", str(file))
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, word text)",
        f"CREATE PUBLICATION {name} FOR TABLE t",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    )
    yield Pipeline(database, configuration.load(file), {})
    if database.rows(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{name}'"):
        drop_slot(database.dsn, name)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def run(job: str, instance: dg.DagsterInstance, **config: object) -> dg.ExecuteInProcessResult:
    definition = defs().resolve_job_def(job)
    (op,) = [node.name for node in definition.nodes]
    return definition.execute_in_process(
        run_config={"ops": {op: {"config": config}}}, instance=instance, raise_on_error=False
    )


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """What a failed run says, and what to type."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    told = event.step_failure_data.user_failure_data
    assert told is not None and told.description is not None
    return told.description, str(told.metadata["fix"].value)


def looked(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    found = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(found, dg.SensorResult)
    return found


def test_the_graph_leads_from_the_source_through_the_stream_to_the_cuts(watched: Pipeline) -> None:
    graph = defs().resolve_asset_graph()

    chain = [
        ["pg", "public", "t"],
        ["cdc", "stream"],
        ["changelog", "public", "t"],
        ["current", "public", "t"],
        ["cuts"],
    ]
    for upstream, downstream in itertools.pairwise(chain):
        assert dg.AssetKey(upstream) in graph.get(dg.AssetKey(downstream)).parent_keys
    assert {graph.get(dg.AssetKey(path)).group_name for path in chain} == {
        "source",
        "ingest",
        "changelog",
        "current",
        "ops",
    }


def test_tables_of_any_name_get_keys_of_their_own() -> None:
    names = [TableName(*pair) for pair in [("a", "b_c"), ("a_b", "c"), ("a", "b__c"), ("a", "b-c"), ("a", "b c")]]
    names += [TableName("薬局", "一覧"), TableName("薬局", "台帳"), TableName("a", 'say "x"'), TableName("A", "b_c")]

    checks = [stream_health(names), rows_by_value(names)]
    graph = dg.Definitions(assets=asset_graph(names), asset_checks=checks).resolve_asset_graph()

    assert len(graph.get_all_asset_keys()) == 4 * len(names) + 3
    assert asset_key("pg", names[0]) == dg.AssetKey(["pg", "a", "b_c"])


def test_definitions_load_with_nothing_configured(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIREKI")}
    program = str(Path(sys.executable).parent / "dg")

    found = subprocess.run(
        [program, "check", "defs"],
        cwd=ROOT,
        env=environment | {"DAGSTER_HOME": str(tmp_path), "RIREKI_CONFIG": str(tmp_path / "absent.toml")},
        capture_output=True,
        text=True,
        timeout=170,
    )

    assert found.returncode == 0, found.stdout + found.stderr


def test_definitions_do_not_wait_for_a_source_and_a_store_that_never_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        file = tmp_path / "rireki.toml"
        file.write_text(
            f'[source]\ndsn = "host=127.0.0.1 port={port} dbname=x"\n'
            f'[lake]\nurl = "s3://bucket"\nendpoint = "http://127.0.0.1:{port}"\n'
        )
        monkeypatch.setenv("RIREKI_CONFIG", str(file))
        began = time.monotonic()

        tables = known_tables(patience_s=0.5)

        assert tables == ()
        assert time.monotonic() - began < 4  # each alone would be waited for longer


def test_every_check_passes_on_a_stream_that_runs(watched: Pipeline, instance: dg.DagsterInstance) -> None:
    with watched.running():
        wait_until(lambda: status_of(watched.config).lake is not None, "the first cut")

        result = dg.materialize(
            [stream_health([T]), rows_by_value([T])],
            selection=dg.AssetSelection.all_asset_checks(),
            instance=instance,
        )

    found = {(e.asset_key, e.check_name): e for e in result.get_asset_check_evaluations()}
    assert {key: e.passed for key, e in found.items()} == {
        (STREAM, "lag_within_slo"): True,
        (STREAM, "slot_healthy"): True,
        (CURRENT, "no_gap"): True,
        (CURRENT, "rows_match_source"): True,
    }
    assert found[CURRENT, "rows_match_source"].metadata["source_rows"].value == 3


def test_a_check_says_that_nobody_captures(watched: Pipeline, instance: dg.DagsterInstance) -> None:
    watched.drain()
    slot = dg.AssetCheckKey(STREAM, "slot_healthy")

    result = dg.materialize(
        [stream_health([T])], selection=dg.AssetSelection.checks(slot), instance=instance, raise_on_error=False
    )

    (found,) = result.get_asset_check_evaluations()  # the others weren't asked for
    assert not found.passed
    assert found.description == f"slot {watched.database.name} is followed by nobody"


def test_resync_waits_until_readers_see_the_copy_and_reconcile_finds_it_true(
    watched: Pipeline, instance: dg.DagsterInstance
) -> None:
    with watched.running() as told:
        wait_until(lambda: any(isinstance(event, Copied) for event in told), "the first copy")

        resync = run("resync_table", instance, tables=["public.t"], reason="a test")
        compared = run("reconcile", instance)

    assert resync.success and compared.success
    assert sum(isinstance(event, Copied) for event in told) == 2
    (found,) = compared.get_asset_check_evaluations()
    assert (found.asset_key, found.check_name, found.passed) == (CURRENT, "rows_match_source", True)


def test_a_resync_that_nobody_serves_fails_with_what_to_type(watched: Pipeline, instance: dg.DagsterInstance) -> None:
    watched.drain()

    asked = run("resync_table", instance, tables=["public.t"], reason="a test", mode="ASK")
    late = run("resync_table", instance, tables=["public.t"], reason="a test", within_seconds=0.1)
    stranger = run("resync_table", instance, tables=["public.other"], reason="a test")
    nonsense = run("resync_table", instance, tables=["t"], reason="a test")

    assert asked.success
    assert failure(late)[0].startswith("public.t: not copied within 0.1 s")
    assert "ADD TABLE" in failure(stranger)[1]
    assert "schema.table" in failure(nonsense)[1]


def test_reconcile_fails_the_run_and_the_check_when_a_row_differs(
    watched: Pipeline, instance: dg.DagsterInstance
) -> None:
    watched.drain()
    name = watched.database.name
    watched.database.execute(f"ALTER PUBLICATION {name} SET (publish = 'insert')", "DELETE FROM t WHERE id = 2")
    # With what was seen of the catalogue before, capture would find the alteration, and copy the table.
    watched.config.lake_root().store().remove(f"_rireki/catalogue/{name}.json")

    with watched.running():
        result = run("reconcile", instance, tables=["public.t"])

    (found,) = result.get_asset_check_evaluations()
    assert not result.success and not found.passed
    assert found.metadata["mismatches"].value == 1
    assert "rireki resync public.t" in failure(result)[1]


def test_the_heartbeat_reports_what_is_new_and_then_nothing(watched: Pipeline, instance: dg.DagsterInstance) -> None:
    watched.drain()
    watched.database.execute("DELETE FROM t WHERE id = 1", "UPDATE t SET word = 'zwei' WHERE id = 2")
    watched.drain()

    first = looked(heartbeat, instance, None)
    second = looked(heartbeat, instance, first.cursor)

    reported = {event.asset_key: event for event in first.asset_events if isinstance(event, dg.AssetMaterialization)}
    assert {key.to_user_string() for key in reported} == {
        "pg/public/t",
        "cdc/stream",
        "changelog/public/t",
        "current/public/t",
        "transactions",
        "cuts",
    }
    assert reported[CURRENT].metadata["dagster/row_count"].value == 2
    assert reported[CURRENT].metadata["version"].value == status_of(watched.config).lake.tables[T]  # type: ignore[union-attr]
    assert [column.name for column in reported[CURRENT].metadata["dagster/column_schema"].value.columns][:2] == [
        "id",
        "word",
    ]
    assert [event for event in second.asset_events if isinstance(event, dg.AssetMaterialization)] == []


def test_the_heartbeat_reports_a_check_when_its_outcome_changes(
    watched: Pipeline, instance: dg.DagsterInstance
) -> None:
    def slot(result: dg.SensorResult) -> list[bool]:
        return [
            event.passed
            for event in result.asset_events
            if isinstance(event, dg.AssetCheckEvaluation) and event.check_name == "slot_healthy"
        ]

    watched.drain()
    alone = looked(heartbeat, instance, None)
    still = looked(heartbeat, instance, alone.cursor)
    with watched.running():
        wait_until(lambda: _is_followed(watched), "the slot is followed")
        followed = looked(heartbeat, instance, still.cursor)

    assert [slot(look) for look in (alone, still, followed)] == [[False], [], [True]]


def test_sensors_rest_while_nothing_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    monkeypatch.setenv("RIREKI_CONFIG", str(tmp_path / "absent.toml"))

    for sensor in (heartbeat, lag_alerts):
        found = sensor(dg.build_sensor_context(instance=instance))

        assert isinstance(found, dg.SkipReason)
        assert "rireki init" in (found.skip_message or "")


def test_the_alert_says_how_late_it_is_for_whom_where_it_waits_and_what_to_type(
    watched: Pipeline, instance: dg.DagsterInstance
) -> None:
    watched.drain()
    watched.database.execute("INSERT INTO t VALUES (4, 'four')")
    wait_until(lambda: (lag_seconds(status_of(watched.config)) or 0) > 2, "a lag beyond what is promised")

    first = looked(lag_alerts, instance, None)
    second = looked(lag_alerts, instance, first.cursor)
    with watched.running():
        wait_until(lambda: (lag_seconds(status_of(watched.config)) or 9) < 1.6, "the stream has caught up")
        third = looked(lag_alerts, instance, second.cursor)
        wait_until(lambda: (lag_seconds(status_of(watched.config)) or 9) < 1.6, "the stream has caught up")
        fourth = looked(lag_alerts, instance, third.cursor)

    assert _summary(first).startswith("lag pending, slot_inactive pending, slot_loss ok, unreachable ok")
    assert "[firing]" in _summary(second) and "s behind, promised are 2 s; told to nobody" in _summary(second)
    assert "[resolved]" in _summary(fourth)


def test_an_alert_that_the_source_is_away_outlives_a_lake_that_can_still_be_read(
    watched: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.drain()
    monkeypatch.setenv("RIREKI_SOURCE__DSN", "host=127.0.0.1 port=1 dbname=gone")

    cursor = None
    for _ in range(4):
        found = looked(lag_alerts, instance, cursor)
        cursor = found.cursor

    assert "the source of " in _summary(found) and "can't be reached" in _summary(found)


def test_maintenance_shows_what_is_kept_and_fails_when_less_was_promised(
    watched: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.drain()
    kept = run("maintain", instance)
    asked = dg.materialize(
        [promise_kept([T])], selection=dg.AssetSelection.all_asset_checks(), instance=instance, raise_on_error=False
    )
    monkeypatch.setenv("RIREKI_RETENTION__EVERY_VERSION", "1 day")

    refused = run("maintain", instance)

    assert kept.success and asked.success
    for result in (kept, asked):
        (found,) = result.get_asset_check_evaluations()
        assert (found.asset_key, found.check_name, found.passed) == (CURRENT, "retention_kept", True)
    assert "every was promised for 7 days and is now 1 days" in failure(refused)[0]
    assert "--accept-less" in failure(refused)[1]


def test_intervals_are_built_and_shown(watched: Pipeline, instance: dg.DagsterInstance) -> None:
    watched.drain()

    built = run("build_history", instance, tables=["public.t"])

    (event,) = built.get_asset_materialization_events()
    assert event.asset_key == dg.AssetKey(["history", "public", "t"])


def test_an_alert_says_that_nobody_maintains_the_lake_any_more(
    watched: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.drain()
    never = looked(lag_alerts, instance, None)
    assert run("maintain", instance).success
    monkeypatch.setenv("RIREKI_ALERTS__MAINTENANCE_HOURS", "0.000001")

    first = looked(lag_alerts, instance, never.cursor)
    second = looked(lag_alerts, instance, first.cursor)

    assert "maintenance ok" in _summary(never) and "maintenance pending" in _summary(first)
    assert "nobody has maintained the lake for 0 h" in _summary(second)
    assert any("rireki maintain" in reason for _, reason in status_of(configuration.load()).reasons())


def test_only_finished_runs_that_are_old_enough_are_forgotten(instance: dg.DagsterInstance) -> None:
    @dg.job
    def any_job() -> None: ...

    finished = any_job.execute_in_process(instance=instance).run_id
    waiting = instance.create_run_for_job(any_job).run_id
    now = datetime.now(UTC)

    young = purge_runs(instance, timedelta(days=1), now)
    old = purge_runs(instance, timedelta(days=1), now + timedelta(days=2))

    assert (young, old) == (0, 1)
    assert instance.get_run_by_id(finished) is None
    assert instance.get_run_by_id(waiting) is not None


def _is_followed(watched: Pipeline) -> bool:
    source = status_of(watched.config).source
    return source is not None and source.slot is not None and source.slot.active_pid is not None


def _summary(result: dg.SensorResult) -> str:
    assert result.skip_reason is not None and result.skip_reason.skip_message is not None
    return result.skip_reason.skip_message
