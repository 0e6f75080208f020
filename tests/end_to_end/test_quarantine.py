"""A table that can't be taken as it is: its raw changes wait in the lake, the others go on, and they come back."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from cdc.relation import TableName
from cdc.slot import read_slot
from lakehouse.changelog import Changelog
from lakehouse.generations import Generations
from lakehouse.history_build import build_history
from lakehouse.table_state import LiveFile
from pipelines.cli import run
from pipelines.doctor import State, checks
from pipelines.resync import request_resync
from pipelines.status import status_of
from tests.end_to_end.conftest import Pipeline

T = TableName("public", "t")


@pytest.fixture
def streamed(pipeline: Pipeline) -> Pipeline:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a text)",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
        "CREATE TABLE other (id int PRIMARY KEY)",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t, other",
    )
    pipeline.drain()
    pipeline.drain()
    return pipeline


def rows(pipeline: Pipeline, table: str, **options: Any) -> list[tuple[Any, ...]]:
    columns = "* EXCLUDE (_valid_from, _valid_from_lsn)"
    answer = pipeline.lake().sql(f"SELECT {columns} FROM {table} ORDER BY id", **options)
    return [tuple(row.values()) for row in answer.arrow.to_pylist()]


def refused(pipeline: Pipeline, column: str = "_op int") -> None:
    """A column whose name the lake needs itself, then changes of every kind, in two transactions and two drains."""
    pipeline.database.execute(
        f"ALTER TABLE t ADD {column}",
        "BEGIN; INSERT INTO t VALUES (4, 'four', 44); INSERT INTO other VALUES (1);"
        " UPDATE t SET a = 'eins', _op = 11 WHERE id = 1; COMMIT",
    )
    pipeline.drain()
    pipeline.database.execute(
        "UPDATE t SET id = 20 WHERE id = 2", "DELETE FROM t WHERE id = 3", "INSERT INTO other VALUES (2)"
    )
    pipeline.drain()


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_what_a_table_cannot_take_waits_raw_and_holds_neither_the_others_nor_the_log(streamed: Pipeline) -> None:
    before = rows(streamed, "public.t")

    refused(streamed)

    assert rows(streamed, "public.t") == before
    assert rows(streamed, "public.other") == [(1,), (2,)]
    ((gap),) = streamed.lake().sql("FROM public.t").as_of.gaps
    assert gap.to_lsn is None and "_op" in gap.reason
    with streamed.database.connect() as connection:
        slot = read_slot(connection, streamed.database.name)  # type: ignore[arg-type]
    assert slot is not None and slot.confirmed_flush > gap.from_lsn
    status = status_of(streamed.config).as_object()
    assert "_op" in status["tables"]["public.t"]["held"]
    assert any("public.t is held" in reason for reason in status["reasons"])
    (check,) = (one for one in checks(streamed.config) if one.name == "tables held")
    assert check.state is State.WARNING and "rireki replay" in check.fix


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_once_the_name_is_another_the_changes_are_replayed_at_their_own_commits(
    streamed: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    source = []

    def moment() -> None:
        with streamed.database.connect() as connection:
            ((lsn,),) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
            source.append((lsn, connection.execute("SELECT * FROM t ORDER BY id").fetchall()))

    moment()
    streamed.database.execute("ALTER TABLE t ADD _op int", "INSERT INTO t VALUES (4, 'four', 44)")
    moment()
    streamed.drain()
    streamed.database.execute("UPDATE t SET id = 20, _op = 2 WHERE id = 2", "DELETE FROM t WHERE id = 3")
    moment()
    streamed.drain()
    build_history(streamed.config.lake_root(), T, streamed.lake().at(None).lsn)
    streamed.database.execute("ALTER TABLE t RENAME _op TO op", "UPDATE t SET op = 5 WHERE id = 4")
    moment()
    streamed.drain()
    held = rows(streamed, "public.t")

    assert run(["replay", "public.t", "--config", str(streamed.config.file), "--json"]) == 0
    asked = json.loads(capsys.readouterr().out.splitlines()[-1])
    streamed.drain()

    assert asked["tables"] == ["public.t"]
    assert held == source[0][1], "as it was, until then"
    lake = streamed.lake()
    for plan in (None, "history", "changelog"):
        for lsn, wanted in source:
            answer = lake.sql(
                "SELECT * EXCLUDE (_valid_from, _valid_from_lsn) FROM public.t ORDER BY id", at=lsn, plan=plan
            )
            assert [tuple(row.values()) for row in answer.arrow.to_pylist()] == wanted, (plan, lsn)
            assert answer.as_of.complete
    build_history(streamed.config.lake_root(), T, streamed.lake().at(None).lsn)
    ended = streamed.lake().sql('SELECT id, _to_lsn FROM history."public.t" WHERE id = 3').arrow.to_pylist()
    assert len(ended) == 1 and ended[0]["_to_lsn"] is not None
    assert streamed.reconcile_drained().mismatches == 0
    assert [change.op for change in lake.trace(T, "4")] == ["insert", "update"]


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_replay_that_cannot_tell_all_is_followed_by_a_copy(streamed: Pipeline) -> None:
    refused(streamed, "_op int DEFAULT 7")
    streamed.database.execute("ALTER TABLE t RENAME _op TO op")

    request_resync(streamed.config, [T], reason="", replay=True)
    streamed.drain()
    streamed.drain()

    assert rows(streamed, "public.t") == [(1, "eins", 11), (4, "four", 44), (20, "two", 7)]
    assert streamed.lake().sql("FROM public.t").as_of.complete
    assert next(change.op for change in streamed.lake().trace(T, "4")) == "insert"


class Poison:
    """A writer that can't put one value into a file of one table, until it is mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mend, write = monkeypatch.undo, Changelog._written

        def refuse(changelog: Changelog, rows: pa.Table, found: Generations) -> list[LiveFile]:
            if "a" in rows.column_names and "poison" in rows["a"].to_pylist():
                raise pa.ArrowInvalid("no such value")
            return write(changelog, rows, found)

        monkeypatch.setattr(Changelog, "_written", refuse)


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_what_a_changelog_cannot_write_waits_and_is_replayed_at_its_own_commits(
    streamed: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Poison(monkeypatch)
    before = rows(streamed, "public.t")
    streamed.database.execute(
        "INSERT INTO t VALUES (4, 'four')",
        "BEGIN; UPDATE t SET a = 'poison' WHERE id = 1; INSERT INTO other VALUES (1); COMMIT",
    )
    with streamed.database.connect() as connection:
        ((then,),) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
    streamed.drain()
    streamed.database.execute("UPDATE t SET a = 'eins' WHERE id = 1", "INSERT INTO other VALUES (2)")
    streamed.drain()

    assert rows(streamed, "public.t") == before
    assert rows(streamed, "public.other") == [(1,), (2,)]
    ((gap),) = streamed.lake().sql("FROM public.t").as_of.gaps
    assert gap.to_lsn is None and "no such value" in gap.reason
    with streamed.database.connect() as connection:
        slot = read_slot(connection, streamed.database.name)  # type: ignore[arg-type]
    assert slot is not None and slot.confirmed_flush > gap.from_lsn

    request_resync(streamed.config, [T], reason="", replay=True)
    streamed.drain()  # nothing is mended yet: it stays there, and nobody's stream ends
    assert rows(streamed, "public.t") == before
    poison.mend()
    request_resync(streamed.config, [T], reason="", replay=True)
    streamed.drain()

    assert rows(streamed, "public.t") == [(1, "eins"), (2, "two"), (3, "three"), (4, "four")]
    assert rows(streamed, "public.t", at=then) == [(1, "poison"), (2, "two"), (3, "three"), (4, "four")]
    assert streamed.lake().sql("FROM public.t").as_of.complete
    assert [change.op for change in streamed.lake().trace(T, "1")] == ["copy", "update", "update"]
    assert streamed.reconcile_drained().mismatches == 0


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_what_still_cannot_be_taken_stays_where_it_is(streamed: Pipeline) -> None:
    refused(streamed)

    request_resync(streamed.config, [T], reason="", replay=True)
    streamed.drain()

    assert not streamed.lake().sql("FROM public.t").as_of.complete
    streamed.database.execute("ALTER TABLE t DROP _op")
    request_resync(streamed.config, [T], reason="")
    streamed.drain()
    assert rows(streamed, "public.t") == [(1, "eins"), (4, "four"), (20, "two")]
    assert streamed.lake().sql("FROM public.t").as_of.complete


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_new_table_with_such_a_name_waits_alone(streamed: Pipeline) -> None:
    streamed.database.execute(
        "CREATE TABLE late (id int PRIMARY KEY, _op int)",
        f"ALTER PUBLICATION {streamed.database.name} ADD TABLE late",
        "INSERT INTO late VALUES (1, 1)",
        "INSERT INTO other VALUES (1)",
    )

    streamed.drain()

    assert rows(streamed, "public.other") == [(1,)]
    assert "not copied yet: public.late" in status_of(streamed.config).as_object()["reasons"]
    streamed.database.execute("ALTER TABLE late RENAME _op TO op")
    streamed.drain()
    assert rows(streamed, "public.late") == [(1, 1)]
