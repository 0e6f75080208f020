"""One clock: what is recorded carries the database's time, with its zone, told in UTC."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import services
from tests.services import matrix
from tests.services.conftest import Api, Platform

FOLDER = Path(services.__file__).parent
RECORDING = ("asset", "auth", "directory", "shared", "web")
# They judge by their own clock how old a token, a code, a page or a proof is, and record nothing of it.
JUDGING = {
    "shared/proof.py",
    "auth/away.py",
    "auth/pages/authorize.py",
    "auth/pages/flow.py",
    "auth/protocol/code.py",
    "auth/protocol/tokens.py",
    "auth/sessions.py",
    "auth/totp.py",
}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime"}


def test_every_instant_in_a_table_has_its_zone(platform: Platform) -> None:
    kinds = platform.rows(
        "SELECT DISTINCT data_type AS kind FROM information_schema.columns "
        "WHERE table_schema = ANY(%s) AND data_type ~ '^time'",
        list(matrix.SCHEMAS),
    )

    assert kinds == [{"kind": "timestamp with time zone"}]


def test_every_service_reads_and_tells_time_in_utc(platform: Platform, api: Api) -> None:
    set_to = platform.rows(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND lower('timezone=UTC') = ANY("
        "SELECT lower(setting) FROM unnest(rolconfig) AS setting)",
        list(matrix.SCHEMAS),
    )
    api.found()
    api.user()

    assert {row["rolname"] for row in set_to} == set(matrix.SCHEMAS)
    (event,) = api.last.json()["events"]
    assert datetime.fromisoformat(event["recorded_at"]).tzinfo == UTC


def test_no_service_records_a_time_of_its_own_clock() -> None:
    reading = {
        path.relative_to(FOLDER).as_posix()
        for folder in RECORDING
        for path in (FOLDER / folder).rglob("*.py")
        if _reads_a_clock(ast.parse(path.read_text("utf-8")))
    }

    assert reading == JUDGING


def test_the_lint_sees_every_way_to_ask_a_clock() -> None:
    for asking in ("datetime.now(UTC)", "date.today()", "time.time()", "f(clock=time.time)", "from time import time"):
        assert _reads_a_clock(ast.parse(asking)), asking
    assert not _reads_a_clock(ast.parse("import time\nfrom datetime import datetime\ntime.sleep(1)\ntime.monotonic()"))


def _reads_a_clock(module: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in CLOCKS and ast.unparse(node.value).endswith(("time", "date")))
        or (isinstance(node, ast.ImportFrom) and node.module == "time" and any(n.name in CLOCKS for n in node.names))
        for node in ast.walk(module)
    )
