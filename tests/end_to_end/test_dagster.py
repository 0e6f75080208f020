"""Dagster's jobs and checks on a stream that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from cdc.relation import TableName
from pipelines.definitions import defs
from pipelines.progress import Copied
from tests.end_to_end.conftest import Pipeline, wait_until


@pytest.fixture
def configured(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("RIREKI_CONFIG", str(pipeline.config.file))
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY)",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
        "INSERT INTO t VALUES (1), (2)",
    )
    return pipeline


def test_the_graph_leads_from_the_source_table_to_the_cuts(configured: Pipeline) -> None:
    configured.drain()

    graph = defs().resolve_asset_graph()

    table = TableName("public", "t")
    chain = [
        ["pg", *_path(table)],
        ["cdc", "stream"],
        ["changelog", *_path(table)],
        ["current", *_path(table)],
        ["cuts"],
    ]
    for upstream, downstream in zip(chain, chain[1:], strict=False):
        assert dg.AssetKey(upstream) in graph.get(dg.AssetKey(downstream)).parent_keys


def test_resync_and_reconcile_run_as_jobs_beside_the_stream(configured: Pipeline) -> None:
    definitions = defs()
    with configured.running() as told, dg.instance_for_test() as instance:
        wait_until(lambda: any(isinstance(event, Copied) for event in told), "the first copy")
        config = {"ops": {"request_copies": {"config": {"tables": ["public.t"], "reason": "test"}}}}

        resync = definitions.resolve_job_def("resync_table").execute_in_process(run_config=config, instance=instance)
        compared = definitions.resolve_job_def("reconcile").execute_in_process(instance=instance)

    assert resync.success and compared.success
    assert sum(isinstance(event, Copied) for event in told) == 2


def test_definitions_load_with_nothing_configured(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIREKI")}
    root = Path(__file__).parents[2]
    command = [str(Path(sys.executable).parent / "dg"), "check", "defs"]

    found = subprocess.run(
        command,
        cwd=root,
        env=environment | {"DAGSTER_HOME": str(tmp_path), "RIREKI_CONFIG": str(tmp_path / "absent.toml")},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert found.returncode == 0, found.stdout + found.stderr


def _path(table: TableName) -> list[str]:
    return [table.schema, table.table]
