"""What the workload remembers of random instants, as the lake tells it of those instants."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import services
from cdc.slot import drop_slot
from lakehouse.json_values import json_rows
from lakehouse.lake import Lake
from pipelines.cli import run as rireki
from pipelines.config import load
from pipelines.setup import render
from services.migrate.apply import migrate
from services.workload.run import Plan, run
from tests.conftest import Database
from tests.oracle import differences
from tests.services.conftest import PASSWORDS, TOKEN, Platform, served

FOLDER = Path(services.__file__).parent
SLOT = "the_oracle"


@dataclass
class TheLake:
    lake: Lake

    def rows(self, at: str, tenant: str, table: str) -> list[dict[str, Any]]:
        answer = self.lake.sql(f"SELECT * FROM {table} WHERE tenant_id = '{tenant}'", at)
        assert answer.as_of.complete
        return [dict(zip(answer.columns, row, strict=True)) for row in json_rows(answer.arrow)]


def test_the_lake_tells_every_instant_as_the_workload_remembers_it(database: Database, tmp_path: Path) -> None:
    migrate(database.dsn, PASSWORDS)
    with database.connect() as admin:
        for service in ("directory", "asset", "auth"):
            admin.execute((FOLDER / service / "publication.sql").read_bytes())
    file = tmp_path / "rireki.toml"
    stream = {"name": SLOT, "publication": "rireki_platform"}
    file.write_text(render({"source": {"dsn": database.dsn}, "stream": stream, "lake": {"url": "lake"}}))
    drain = ["drain", "--json", "--config", str(file)]
    assert rireki(drain) == 0  # before anything happens: from here on the lake knows every commit
    platform, oracle = Platform(database), tmp_path / "oracle.json"
    with served(platform) as api, served(platform, "asset") as asset:
        plan = Plan(str(api.http.base_url), TOKEN, seed=11, changes=240, tenants=2, oracle_file=oracle)
        run(replace(plan, asset_url=str(asset.http.base_url), asset_token=TOKEN), threading.Event())

    assert rireki(drain) == 0
    lake = TheLake(Lake.open(load(file).lake_root()))
    instants = json.loads(oracle.read_text("utf-8"))["instants"][::3]

    assert len(instants) >= 6
    assert [told for instant in instants for told in differences(instant, lake)] == []
    wrong = {**instants[-1], "retired": [*instants[-1]["retired"], "nobody"]}
    assert differences(wrong, lake) != []
    drop_slot(load(file).conninfo(), SLOT)
