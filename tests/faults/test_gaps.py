"""Changes that are lost for good: recognised, on record, and gone on from; before and after, answers stay exact."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdc.errors import SlotLost, SourceError, SourceReplaced
from cdc.lsn import Lsn
from cdc.relation import TableName
from cdc.slot import beat, current_position, drop_slot, ensure_slot
from infra.postgres import Postgres
from lakehouse.lake import Lake
from pipelines import config as configuration
from pipelines.capture import Capture, CaptureReport
from pipelines.config import Config
from pipelines.errors import NothingLost
from pipelines.recovery import accept_gap
from pipelines.setup import render
from pipelines.status import Verdict, status_of
from tests.conftest import Database
from tests.faults.servers import own_server
from tests.soak.child import Child

T = TableName("public", "t")
ROWS = "SELECT id, v FROM public.t ORDER BY id"


@dataclass
class Stream:
    """One table of one database, followed into one lake."""

    database: Database
    config: Config

    def execute(self, *statements: str) -> None:
        self.database.execute(*statements)

    def drain(self) -> CaptureReport:
        return Capture(self.config).drain(beat(self.config.conninfo()))

    def rows(self) -> list[tuple[object, ...]]:
        return self.database.rows("SELECT id, v FROM t ORDER BY id")

    def position(self) -> Lsn:
        """As of here: everything committed so far."""
        return current_position(self.config.conninfo()).before()

    def lake(self) -> Lake:
        return Lake.open(self.config.lake_root())

    def held(self, at: Lsn | None = None) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in self.lake().sql(ROWS, at=at).arrow.to_pylist()]


def stream_of(server: Postgres, database: str, folder: Path, *, lake: str = "lake") -> Stream:
    file = folder / "rireki.toml"
    settings = {
        "source": {"dsn": server.dsn(database)},
        "stream": {"name": database},
        "lake": {"url": (folder / lake).as_uri()},
    }
    file.write_text(render(settings))
    return Stream(Database(server, database), configuration.load(file))


def begin(stream: Stream) -> None:
    name = stream.config.stream.name
    stream.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        f"CREATE PUBLICATION {name} FOR TABLE t",
        "INSERT INTO t VALUES (1, 'stays'), (2, 'goes'), (3, 'changes'), (4, 'a')",
    )
    stream.drain()
    stream.execute("UPDATE t SET v = 'b' WHERE id = 4")
    stream.drain()


@pytest.fixture
def stream(database: Database, tmp_path: Path) -> Iterator[Stream]:
    stream = stream_of(database.server, database.name, tmp_path)
    begin(stream)
    yield stream
    if database.rows(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{database.name}'"):
        drop_slot(database.dsn, database.name)


LOST = ("DELETE FROM t WHERE id = 2", "UPDATE t SET v = 'changed' WHERE id = 3", "INSERT INTO t VALUES (5, 'came')")


def refused(stream: Stream, kind: type[SourceError], match: str) -> None:
    """Stops with the way on, and writes nothing."""
    before = stream.lake().at().cut.written_at
    with pytest.raises(kind, match=match) as stopped:
        stream.drain()
    assert "rireki resync --all --accept-gap" in stopped.value.fix
    assert stream.lake().at().cut.written_at == before


def recovered(stream: Stream) -> None:
    """Accept, go on, and find the lake exact before and after, and honest in between."""
    lake, held = stream.lake(), stream.held()
    end = lake.at("now").lsn

    (accepted,) = accept_gap(stream.config, reason="試験")
    assert (accepted.table, accepted.from_lsn, accepted.to_lsn) == (None, end, None)
    report = stream.drain()

    (gap,) = lake.gaps()
    assert gap.from_lsn == end and gap.to_lsn is not None and gap.reason.endswith("試験")
    assert [told["to_lsn"] for told in report.gaps] == [str(gap.to_lsn)]
    assert stream.held() == stream.rows()
    assert lake.sql(ROWS).as_of.complete
    # Before the gap, inside it, at its end.
    assert stream.held(end) == held and lake.sql(ROWS, at=end).as_of.complete
    inside = lake.sql(ROWS, at=Lsn(end.value + 1))
    assert inside.as_of.gaps == (gap,) and [tuple(row.values()) for row in inside.arrow.to_pylist()] == held
    assert lake.sql(ROWS, at=gap.to_lsn).as_of.complete
    # And the stream carries on.
    stream.execute("INSERT INTO t VALUES (100000, 'after')")
    stream.drain()
    assert stream.held() == stream.rows()
    assert lake.gaps() == (gap,)


def test_a_dropped_slot_stops_the_stream_and_is_recovered_once_accepted(stream: Stream) -> None:
    drop_slot(stream.database.dsn, stream.config.stream.slot_name)
    stream.execute(*LOST)

    refused(stream, SlotLost, "it is gone")
    recovered(stream)


def test_status_names_the_hole_and_the_way_on_until_it_is_closed(stream: Stream) -> None:
    drop_slot(stream.database.dsn, stream.config.stream.slot_name)

    lost = status_of(stream.config)
    accept_gap(stream.config, reason="")
    accepted = status_of(stream.config)
    stream.drain()
    closed = status_of(stream.config)

    assert lost.verdict is Verdict.FAILED
    verdict, reason = lost.reasons()[0]
    assert verdict is Verdict.FAILED
    assert "where the lake ends" in reason and "rireki resync --all --accept-gap" in reason
    assert "accepted as a gap: rireki capture" in " ".join(told for _, told in accepted.reasons())
    assert accepted.verdict is closed.verdict is Verdict.ATTENTION
    assert closed.hole is None


def test_a_slot_made_anew_ahead_of_the_lake_stops_the_stream_and_is_recovered_once_accepted(stream: Stream) -> None:
    drop_slot(stream.database.dsn, stream.config.stream.slot_name)
    stream.execute(*LOST)
    ensure_slot(stream.database.dsn, stream.config.stream.slot_name)
    stream.execute("UPDATE t SET v = 'seen by the new slot' WHERE id = 5")

    refused(stream, SlotLost, "what lies between is gone")
    recovered(stream)


def test_a_row_that_went_or_changed_in_a_gap_is_traced_to_between_two_commits(stream: Stream) -> None:
    drop_slot(stream.database.dsn, stream.config.stream.slot_name)
    stream.execute(*LOST)
    accept_gap(stream.config, reason="")
    stream.drain()

    (gap,) = stream.lake().gaps()
    last = {key: stream.lake().trace(T, key)[-1] for key in "12345"}

    for key, before, after in (("2", "goes", None), ("3", "changes", "changed"), ("5", None, "came")):
        change = last[key]
        assert (change.before and change.before["v"], change.values and change.values["v"]) == (before, after)
        assert change.between is not None and change.who.actor is None
        assert (change.between.from_lsn, change.between.to_lsn) == (gap.from_lsn, gap.to_lsn)
        assert change.to_json()["between"] == {
            "from_lsn": str(gap.from_lsn),
            "from_time": change.between.from_time,
            "to_lsn": str(gap.to_lsn),
            "to_time": change.committed_at,
        }
    # Those that the copy found as they were haven't changed.
    assert last["1"].between is None and last["4"].between is None


def test_a_hole_that_is_not_there_cannot_be_accepted(stream: Stream) -> None:
    with pytest.raises(NothingLost, match="can carry on"):
        accept_gap(stream.config, reason="")

    assert stream.lake().gaps() == ()


def test_a_slot_lost_before_the_first_cut_is_made_again_without_a_question(database: Database, tmp_path: Path) -> None:
    stream = stream_of(database.server, database.name, tmp_path)
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", f"CREATE PUBLICATION {database.name} FOR TABLE t")
    # The first commit there tells the source, the second would be the first batch: the table is copied, no cut is made.
    child = Child(stream.config.file, tmp_path / "log", failpoint="transactions.commit.before=kill@2")
    assert child.wait(60) == -signal.SIGKILL, child.words()
    drop_slot(database.dsn, database.name)
    database.execute("INSERT INTO t VALUES (1, 'a')")

    stream.drain()

    assert stream.held() == [(1, "a")]
    assert stream.lake().gaps() == ()
    drop_slot(database.dsn, database.name)


def test_a_slot_that_outgrew_its_limit_while_nobody_read_it_is_recovered(tmp_path: Path) -> None:
    with own_server(max_slot_wal_keep_size="1MB", max_wal_size="32MB", min_wal_size="32MB") as own:
        server = own.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        begin(stream)
        stream.execute("CREATE TABLE noise (x text)", *LOST)
        for _ in range(4):
            stream.execute(
                "INSERT INTO noise SELECT repeat('x', 8000) FROM generate_series(1, 2000)",
                "SELECT pg_switch_wal()",
                "CHECKPOINT",
            )

        refused(stream, SlotLost, "removed WAL")
        recovered(stream)


def test_a_database_made_anew_under_the_same_name_is_recognised(tmp_path: Path) -> None:
    with own_server() as own:
        server = own.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        begin(stream)
        drop_slot(stream.database.dsn, "app")
        server.drop_database("app")
        server.create_database("app")
        stream.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE PUBLICATION app FOR TABLE t")
        ensure_slot(stream.database.dsn, "app")

        refused(stream, SourceReplaced, "made anew")
        recovered(stream)


def test_another_server_whose_log_is_behind_the_lake_is_recovered_without_positions_running_twice(
    tmp_path: Path,
) -> None:
    with own_server() as one, own_server() as other:
        server = one.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        begin(stream)
        for _ in range(3):
            stream.execute("SELECT pg_switch_wal()", "INSERT INTO t SELECT max(id) + 1, 'more' FROM t")
        stream.drain()
        one.stop()
        server = other.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        stream.execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text)",
            "CREATE PUBLICATION app FOR TABLE t",
            "INSERT INTO t VALUES (1, 'elsewhere')",
        )

        refused(stream, SourceReplaced, "system identifier")
        recovered(stream)


def test_a_server_restored_to_an_earlier_state_is_recognised_while_its_log_is_behind_and_recovered(
    tmp_path: Path,
) -> None:
    with own_server() as own:
        server = own.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        begin(stream)
        own.stop()
        own.save("earlier")
        own.start()
        stream.execute("INSERT INTO t SELECT i, repeat('undone', 100) FROM generate_series(10, 2000) i")
        stream.drain()
        own.stop()
        own.restore("earlier")
        own.start()
        stream.execute("INSERT INTO t VALUES (6, 'another future')")

        refused(stream, SourceReplaced, "restored to an earlier state")
        recovered(stream)


def test_a_server_restored_to_an_earlier_state_whose_log_has_outgrown_the_lake_is_recognised_by_its_transactions(
    tmp_path: Path,
) -> None:
    with own_server() as own:
        server = own.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        begin(stream)
        own.stop()
        own.save("earlier")
        own.start()
        stream.execute("INSERT INTO t VALUES (6, 'undone')")
        stream.drain()
        own.stop()
        own.restore("earlier")
        own.start()
        stream.execute(
            "INSERT INTO t VALUES (6, 'another future')",
            "INSERT INTO t SELECT i, repeat('longer', 100) FROM generate_series(10, 2000) i",
        )

        refused(stream, SourceReplaced, "isn't in the lake")


def test_a_standby_promoted_too_early_is_recognised_by_its_timeline_however_long_its_log(tmp_path: Path) -> None:
    with own_server() as own:
        server = own.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        begin(stream)
        own.stop()
        own.save("standby")
        own.start()
        stream.execute("INSERT INTO t VALUES (6, 'never reached the standby')")
        stream.drain()
        own.stop()
        own.restore("standby")
        own.promote()
        stream.execute("INSERT INTO t SELECT i, repeat('longer', 100) FROM generate_series(10, 2000) i")

        refused(stream, SourceReplaced, r"timeline 2 left it at")
        recovered(stream)


def test_a_promoted_standby_that_holds_all_that_the_lake_holds_is_followed_without_a_gap(tmp_path: Path) -> None:
    with own_server() as own:
        server = own.start()
        server.create_database("app")
        stream = stream_of(server, "app", tmp_path)
        begin(stream)
        own.stop()
        own.promote()
        stream.execute(*LOST)

        stream.drain()

        assert stream.held() == stream.rows()
        assert stream.lake().gaps() == ()
