"""What the commands print, for people and for programs, and what their exit codes mean."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from infra.postgres import Postgres
from pipelines.cli import COMMANDS, console, run
from pipelines.setup import render
from tests.conftest import Database

NAME = "cli_shop"
VALUES = """
CREATE TABLE shop.values (
    id bigint PRIMARY KEY, amount numeric(12, 2), name text, seen timestamptz, raw bytea, ratio float8, tags text[]
)
"""


@pytest.fixture(scope="module")
def shop(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Path]]:
    """A drained lake and the file that leads to it. Two commits after the first cut: one of them says who."""
    folder = tmp_path_factory.mktemp("shop")
    postgres.create_database(NAME)
    database = Database(postgres, NAME)
    database.execute(
        "CREATE SCHEMA shop",
        VALUES,
        "CREATE TABLE shop.later (id bigint PRIMARY KEY)",
        "INSERT INTO shop.values VALUES (1, 12.50, '', '2026-01-31 09:30+09', '\\x0aff', 'NaN', '{a,NULL}')",
        f"CREATE PUBLICATION {NAME} FOR TABLE shop.values",
    )
    file = folder / "rireki.toml"
    file.write_text(render({"source": {"dsn": database.dsn}, "stream": {"name": NAME}, "lake": {"url": "lake"}}))
    assert run(["drain", "--json", "--config", str(file)]) == 0
    database.execute("INSERT INTO shop.values (id, name) VALUES (2, 'new')")
    with database.connect() as connection, connection.transaction():
        who = json.dumps({"actor": "operator:sato", "reason": "correction", "request_id": "r1"})
        connection.execute("SELECT pg_logical_emit_message(true, 'rireki.context', %s)", (who,))
        connection.execute("UPDATE shop.values SET name = 'renamed' WHERE id = 1")
    assert run(["drain", "--json", "--config", str(file)]) == 0
    yield database, file
    postgres.drop_database(NAME)


class Commands:
    def __init__(self, capsys: pytest.CaptureFixture[str], file: Path) -> None:
        self._capsys = capsys
        self._file = file

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Standard output of a command that must end with ``code``."""
        self._capsys.readouterr()
        assert run([*arguments, "--config", str(self._file)]) == code
        return self._capsys.readouterr().out

    def json(self, *arguments: str, code: int = 0) -> Any:
        lines = self(*arguments, "--json", code=code).splitlines()
        return json.loads(lines[-1])


@pytest.fixture
def rireki(shop: tuple[Database, Path], capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys, shop[1])


def test_sql_prints_one_object_with_rows_and_verdict(rireki: Commands) -> None:
    answer = rireki.json("sql", "SELECT id, amount, name, seen, raw, ratio, tags FROM shop.values WHERE id = 1")

    assert answer["columns"] == ["id", "amount", "name", "seen", "raw", "ratio", "tags"]
    assert answer["rows"] == [
        [1, "12.50", "renamed", "2026-01-31T00:30:00.000000Z", "\\x0aff", "NaN", ["a", None]],
    ]
    assert (answer["complete"], answer["gaps"]) == (True, [])
    assert set(answer["as_of"]) >= {"lsn", "source_time"}


def test_sql_at_a_commit_answers_as_the_source_was_then(rireki: Commands) -> None:
    ((insert,), (update,)) = rireki.json("sql", "SELECT commit_lsn FROM rireki.transactions ORDER BY 1")["rows"]

    before, after = (
        rireki.json(
            "sql", "SELECT id, name FROM shop.values ORDER BY id", "--at", f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
        )
        for lsn in (insert, update)
    )

    assert before["rows"] == [[1, ""], [2, "new"]]
    assert after["rows"] == [[1, "renamed"], [2, "new"]]


def test_sql_says_the_zone_in_which_it_read_a_time_and_takes_the_changelogs_tail_along(rireki: Commands) -> None:
    moment = datetime.now(ZoneInfo("Asia/Tokyo")).strftime("%Y-%m-%d %H:%M:%S")
    count = "SELECT count(*) AS n FROM shop.values"

    fresh = rireki.json("sql", count, "--freshness", "changelog")
    refused = rireki.json("sql", count, "--at", moment, "--zone", "Tokyo", code=2)
    answered = rireki.json("sql", count, "--at", "1999-01-01", "--zone", "Asia/Tokyo", code=2)

    assert fresh["rows"] == [[2]]
    assert fresh["as_of"]["lsn"] == fresh["held_to"]["lsn"]
    assert refused["error"]["subject"] == "Tokyo"
    assert "1998-12-31T15:00" in answered["error"]["subject"]


def test_sql_for_people_ends_with_how_complete_it_is_and_tells_null_from_empty(rireki: Commands) -> None:
    *table, verdict = rireki("sql", "SELECT id, '' AS nothing, amount FROM shop.values ORDER BY id").splitlines()

    assert table[2].split() == ["2", "∅"]
    assert verdict.startswith("complete to ")
    assert verdict.endswith(" UTC")


def test_values_are_shown_literally(rireki: Commands) -> None:
    assert "[red]x[/red]" in rireki("sql", "SELECT '[red]x[/red]' AS a FROM shop.values")


def test_a_long_value_is_not_cut_short_in_a_pipe(rireki: Commands) -> None:
    assert "y" * 500 in rireki("sql", "SELECT repeat('y', 500) FROM shop.values")


def test_trace_tells_who_and_why(rireki: Commands) -> None:
    changes = rireki.json("trace", "shop.values", "1")["changes"]

    assert [(c["op"], c["actor"], c["reason"]) for c in changes] == [
        ("copy", None, None),
        ("update", "operator:sato", "correction"),
    ]
    assert "operator:sato: correction" in rireki("trace", "shop.values", "1")


def test_a_column_that_is_not_there_names_the_query_that_shows_those_that_are(rireki: Commands) -> None:
    refused = rireki.json("sql", "SELECT nmae FROM shop.values", code=2)["error"]["next"]

    assert refused.endswith('rireki sql \'FROM "shop"."values" LIMIT 1\'')
    assert rireki.json("sql", 'FROM "shop"."values" LIMIT 1')["columns"][:2] == ["id", "amount"]


@pytest.mark.parametrize(("asked", "near"), [("display_nam", "name"), ("nmae", "name"), ("v.amounts", "amount")])
def test_a_column_that_is_not_there_is_refused_with_those_near_it(rireki: Commands, asked: str, near: str) -> None:
    refused = rireki.json("sql", f"SELECT {asked} FROM shop.values v", code=2)["error"]["what"]

    assert f"\nNear it: {near}\n" in refused
    assert "Candidate" not in refused


def test_a_function_that_is_not_there_points_to_those_that_are(rireki: Commands) -> None:
    refused = rireki.json("sql", "SELECT to_hours_of(id) FROM shop.values", code=2)["error"]

    assert "duckdb.org/docs" in refused["next"]


@pytest.mark.parametrize("command", [("sql", "SELECT count(*) FROM shop.values"), ("versions", "shop.values")])
def test_a_question_does_not_wait_for_what_only_capture_needs(
    shop: tuple[Database, Path], command: tuple[str, ...]
) -> None:
    program = (
        "import sys; from pipelines.cli import run; assert run(sys.argv[1:]) == 0; "
        "print(sorted({'numba', 'boto3', 'dagster', 'apprise'} & sys.modules.keys()))"
    )
    asking = [sys.executable, "-c", program, *command, "--config", str(shop[1])]

    answer = subprocess.run(asking, capture_output=True, text=True, timeout=60, check=True).stdout

    assert answer.splitlines()[-1] == "[]"


def test_trace_without_a_key_is_refused_and_a_key_that_never_was_is_said(rireki: Commands) -> None:
    assert rireki.json("trace", "shop.values", code=2)["error"]["next"] == "rireki trace shop.values KEY"
    assert "no row ever had this key: shop.values 77" in rireki("trace", "shop.values", "77")


def test_what_would_be_folded_beyond_legibility_is_shown_a_column_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ["8f7c2a9e-6d0b-5b0c-8d55-0a4f3f1f9b11", "2026-11-25T13:12:30.255767Z", None]

    def printed(width: int) -> list[str]:
        shown = StringIO()
        monkeypatch.setattr(console, "out", Console(file=shown, force_terminal=True, width=width))
        console.table(["id", "seen", "gone"], [row], records_if_wide=True)
        return re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue()).splitlines()

    assert len(printed(80)) == 2
    assert printed(50) == ["— 1 —", f"id    {row[0]}", f"seen  {row[1]}", "gone  ∅"]


def test_history_tells_a_rows_states_with_their_ends(rireki: Commands) -> None:
    built = rireki.json("history", "shop.values")["history"]

    assert [one["table"] for one in built] == ["shop.values"]
    states = rireki.json(
        "sql", """SELECT name, _to_lsn IS NULL AS open FROM history."shop.values" WHERE id = 1 ORDER BY _from_lsn"""
    )["rows"]
    assert states == [["", False], ["renamed", True]]
    assert rireki.json("history", "shop.values")["history"][0]["from_lsn"] == built[0]["to_lsn"]


def test_history_of_an_unknown_table_is_refused(rireki: Commands) -> None:
    refused = rireki.json("history", "shop.values", "shop.valeus", code=2)["error"]

    assert refused["subject"] == "shop.valeus"
    assert refused["what"].endswith("near it: shop.values")


def test_history_begins_with_no_table_where_one_is_unknown(
    shop: tuple[Database, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["history", "shop.values", "shop.valeus", "--config", str(shop[1])]) == 2

    assert "building" not in capsys.readouterr().err


def test_status_names_each_tables_places(rireki: Commands, shop: tuple[Database, Path]) -> None:
    status = rireki.json("status", code=1)

    table = status["tables"]["shop.values"]
    assert table["paths"]["current"] == str(shop[1].parent / "lake" / "current" / "shop" / "values")
    assert set(table["paths"]) == {"changelog", "current", "history"}
    assert table["state"] == "streaming"
    assert status["verdict"] == "attention"
    assert "nobody captures: rireki capture" in status["reasons"]
    assert status["slot"]["wal_status"] == "reserved"


def test_status_of_a_table_that_waits_for_its_copy(rireki: Commands, shop: tuple[Database, Path]) -> None:
    database, _ = shop
    database.execute(f"ALTER PUBLICATION {NAME} ADD TABLE shop.later")

    waiting = rireki.json("status", code=1)["tables"]["shop.later"]
    database.execute(f"ALTER PUBLICATION {NAME} DROP TABLE shop.later")

    assert (waiting["state"], waiting["lsn"]) == ("waiting for its copy", None)


def test_status_without_a_source_still_tells_of_the_lake(rireki: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIREKI_SOURCE__DSN", "postgresql://x@127.0.0.1:1/x")

    status = rireki.json("status", code=2)

    assert status["source"] is None
    assert status["verdict"] == "failed"
    assert status["tables"]["shop.values"]["lsn"] == status["lake"]["last_cut"]["lsn"]


def test_drain_ends_with_its_figures(rireki: Commands, shop: tuple[Database, Path]) -> None:
    shop[0].execute("INSERT INTO shop.values (id) SELECT generate_series(100, 149)")

    report = rireki.json("drain")

    assert set(report) >= {"stream", "from_lsn", "to_lsn", "transactions", "rows", "seconds", "tables", "gaps"}
    assert (report["transactions"], report["rows"]) == (1, 50)
    assert report["tables"]["shop.values"]["rows"] == 50
    assert report["gaps"] == []


def test_resync_copies_a_table_again(rireki: Commands) -> None:
    asked = rireki.json("resync", "shop.values", "--reason", "because")
    rireki.json("drain")

    copied = rireki.json("sql", "SELECT count(DISTINCT _commit_lsn) FROM changelog.\"shop.values\" WHERE _op = 'copy'")
    assert asked["tables"] == ["shop.values"]
    assert copied["rows"] == [[2]]


def test_doctor_says_ready(rireki: Commands) -> None:
    told = rireki.json("doctor")

    assert told["verdict"] == "ready"
    assert {check["state"] for check in told["checks"]} == {"ok"}


def test_capture_stops_at_sigterm_within_five_seconds_and_reconciles_meanwhile(
    shop: tuple[Database, Path], rireki: Commands
) -> None:
    database, file = shop
    command = [sys.executable, "-m", "pipelines.cli", "capture", "--json", "--config", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as capture:
        assert capture.stdout is not None
        events = (json.loads(line) for line in capture.stdout)
        assert next(events)["event"] == "streaming"
        database.execute("DELETE FROM shop.values WHERE id = 2")

        compared = rireki.json("reconcile")
        capture.send_signal(signal.SIGTERM)
        code = capture.wait(5)

        assert [*events][-1]["event"] == "stopped"
    assert code == 0
    assert compared["tables"]["shop.values"]["mismatches"] == 0
    assert compared["tables"]["shop.values"]["source_rows"] == compared["tables"]["shop.values"]["lake_rows"]


def test_a_reader_that_goes_away_is_no_error(shop: tuple[Database, Path]) -> None:
    query = "SELECT i, repeat('x', 100) FROM range(30000) r(i)"
    command = [sys.executable, "-m", "pipelines.cli", "sql", query, "--config", str(shop[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sql:
        assert sql.stdout is not None
        assert sql.stderr is not None
        sql.stdout.readline()
        sql.stdout.close()
        words = sql.stderr.read()
        sql.wait(30)

    assert words == b""


def test_maintenance_tells_what_it_did_and_refuses_to_keep_less_than_promised(
    rireki: Commands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = rireki.json("maintain", "--dry-run")
    assert "every version since" in rireki("maintain")
    told = rireki.json("maintain", "shop.values")
    monkeypatch.setenv("RIREKI_RETENTION__DAILY_VERSIONS", "1 year")

    refused = rireki.json("maintain", code=2)["error"]

    names = [one["table"] for one in planned["tables"]]
    assert names == ["current/shop/values", "changelog/shop/values", "history/shop/values", "transactions", "cuts"]
    assert (told["tables"][0]["refused"], told["tables"][0]["removed_objects"]) == (None, 0)
    assert "daily was promised for 3660 days and is now 366 days" in refused["what"]
    assert "--accept-less" in refused["next"]


def test_a_moment_is_pinned_listed_and_unpinned(rireki: Commands) -> None:
    made = rireki.json("pin", "year-end", "--reason", "the auditors")

    assert [pin["name"] for pin in rireki.json("pin")["pins"]] == ["year-end"]
    assert "the auditors" in rireki("pin")
    assert rireki.json("pin", "year-end", code=2)["error"]["next"].endswith("rireki unpin year-end")
    assert rireki.json("unpin", "year-end") == made
    assert rireki.json("pin")["pins"] == []
    assert rireki.json("unpin", "year-end", code=2)["error"]["kind"] == "UnknownPin"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run([command, "--help"]) == 0

    help_text = capsys.readouterr().out
    assert f"rireki {command}" in help_text
    assert "--json" in help_text


def test_the_unforeseen_is_one_line_and_a_file(
    shop: tuple[Database, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipelines.cli.sql.load", lambda _: 1 / 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert run(["sql", "SELECT 1"]) == 2

    told = capsys.readouterr().err
    (log,) = tmp_path.iterdir()
    assert "ZeroDivisionError" in told
    assert str(log) in told
    assert "Traceback" not in told
    assert "Traceback" in log.read_text()


def test_the_configuration_is_found_where_up_left_it(
    shop: tuple[Database, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".rireki").mkdir()
    text = shop[1].read_text().replace('"lake"', json.dumps(str(shop[1].parent / "lake")))
    (tmp_path / ".rireki" / "rireki.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert "RIREKI_CONFIG" not in os.environ

    assert run(["sql", "SELECT 1 FROM shop.values LIMIT 1", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["rows"] == [[1]]
