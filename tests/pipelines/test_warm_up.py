"""The first change of a fresh installation waits for no compiler: that is done before the slot is opened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.setup import render
from tests.conftest import Database

# In a process of its own: other tests have compiled kernels in this one.
PROGRAM = """
import json, sys
from numba.core.registry import CPUDispatcher
import cdc.decode, cdc.decode_text, cdc.libpq, cdc.scan, cdc.warm_up, lakehouse.key_hash, lakehouse.key_kernels
from pipelines.cli import run

def compiled():
    kernels = (cdc.libpq, cdc.scan, cdc.decode, cdc.decode_text, lakehouse.key_kernels)
    return {f"{m.__name__}.{name} {signature}" for m in kernels for name, kernel in vars(m).items()
            if isinstance(kernel, CPUDispatcher) for signature in kernel.signatures}

cdc.warm_up.warm_up()
lakehouse.key_hash.warm_up()
before = compiled()
assert run(["drain", "--json", "--config", sys.argv[1]]) == 0
print(json.dumps(sorted(compiled() - before)))
"""
TABLE = """
CREATE TABLE everything (
    id bigint, code text, a bool, b oid, c float4, d float8, e numeric, f numeric(10, 2), g date, h timestamptz, i uuid,
    j jsonb, k bytea, l time, m timetz, n interval, o text[], p int[], PRIMARY KEY (id, code)
)
"""
ROW = """
INSERT INTO everything VALUES ({id}, 'x', true, 1, 1, 1, 1, 1, now(), now(), gen_random_uuid(), '{{}}', 'x', '10:00',
    '10:00+00', '1 day', '{{a}}', '{{1}}')
"""


@pytest.mark.parametrize("as_text", [False, True], ids=["binary session", "text session"])
def test_after_the_warm_up_a_stream_compiles_nothing_more(database: Database, tmp_path: Path, as_text: bool) -> None:
    file = tmp_path / "rireki.toml"
    file.write_text(
        render({"source": {"dsn": database.dsn}, "stream": {"name": database.name}, "lake": {"url": "lake"}})
    )
    publication = f"CREATE PUBLICATION {database.name} FOR TABLE everything, whole"
    whole = "CREATE TABLE whole (x text, y bigint)"
    database.execute(TABLE, whole, "ALTER TABLE whole REPLICA IDENTITY FULL", publication, ROW.format(id=1))
    if as_text:
        database.execute("CREATE TABLE prices (p money)", f"ALTER PUBLICATION {database.name} ADD TABLE prices")
    assert _compiled_by_a_drain(file) == []
    database.execute(
        ROW.format(id=2),
        "UPDATE everything SET id = 3, a = false WHERE id = 2",
        "DELETE FROM everything WHERE id = 1",
        "INSERT INTO whole VALUES ('a', 1), ('a', 1)",
        "UPDATE whole SET y = 2",
        "DELETE FROM whole",
        "SELECT pg_logical_emit_message(true, 'rireki.context', '{}')",
    )

    assert _compiled_by_a_drain(file) == []


def _compiled_by_a_drain(file: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], stdout=subprocess.PIPE, text=True, check=True)
    compiled: list[str] = json.loads(done.stdout.splitlines()[-1])
    return compiled
