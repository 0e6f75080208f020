"""The small one; ``make storm`` is 10,000 commands."""

from __future__ import annotations

import random

from infra.postgres import Postgres
from tests.services.conftest import cloned
from tests.services.storm import problems, storm


def test_commands_of_many_clients_happen_once_while_the_service_is_killed(postgres: Postgres, template: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with cloned(postgres, template) as platform:
        outcome = storm(platform, commands=300, clients=8, kills=2, seed=seed)

        assert problems(platform, outcome) == []
    assert outcome.retries > 0
    assert len(outcome.answered) >= 200
