"""Rounds of the oracle harness, brief ones: ``make soak`` runs them for half an hour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.object_store import S3Server
from infra.postgres import Postgres
from infra.state import StateFolder
from tests.soak.__main__ import SETTINGS
from tests.soak.rounds import run_round


@pytest.fixture(scope="module")
def quiet_postgres(tmp_path_factory: pytest.TempPathFactory, state_folder: StateFolder) -> Iterator[Postgres]:
    with StateFolder(state_folder.path.with_name(f"{state_folder.path.name}-soak")) as folder:
        with Postgres.start(folder, durable=False, settings=SETTINGS) as server:
            yield server
        folder.destroy()


@pytest.mark.parametrize("seed", [3, 20])
def test_the_lake_says_of_random_moments_what_the_source_said_then(
    seed: int, quiet_postgres: Postgres, s3_server: S3Server, tmp_path: Path
) -> None:
    outcome = run_round(seed, quiet_postgres, s3_server, tmp_path, seconds=6)

    print(outcome)
    assert outcome.answers > 0
