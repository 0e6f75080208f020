"""What comes out of the stream, against a real server."""

from __future__ import annotations

import threading

import pytest

from cdc.catalogue import Catalogue
from cdc.errors import BinaryUnreadable, PublicationMissing, SlotInUse, SlotLost
from cdc.slot import beat, read_slot
from tests.cdc.conftest import Source, receive_until, rows_of


def test_a_change_of_the_key_carries_the_old_key(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    source.execute("INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'b'", "UPDATE t SET id = 2", "DELETE FROM t")

    rows = rows_of(source.take(start), "public.t")

    assert [(r["_op"], r["id"], r["v"], r["_key"]) for r in rows] == [
        ("insert", 1, "a", None),
        ("update", 1, "b", None),
        ("update", 2, "b", {"id": 1}),
        ("delete", 2, None, None),
    ]


def test_ordinals_count_over_all_tables_of_a_transaction(source: Source) -> None:
    source.execute(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY)",
        "ALTER PUBLICATION published ADD TABLE a, b",
    )
    start = source.start()
    source.transaction(
        "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)", "INSERT INTO a VALUES (2)", "TRUNCATE a, b"
    )

    batch = source.take(start)

    a, b = rows_of(batch, "public.a"), rows_of(batch, "public.b")
    assert [r["_ordinal"] for r in a[:2]] == [0, 2] and b[0]["_ordinal"] == 1
    assert sorted(r["_ordinal"] for r in (*a, *b) if r["_op"] == "truncate") == [3, 4]
    assert len({r["_commit_lsn"] for r in (*a, *b)}) == 1
    (transaction,) = batch.transactions.to_pylist()
    assert (sorted(transaction["tables"]), transaction["rows"]) == (["public.a", "public.b"], 5)


def test_an_unchanged_toast_value_is_named_and_not_null(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, big text, n text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "ALTER PUBLICATION published ADD TABLE t",
        "INSERT INTO t VALUES (1, repeat('x', 10000), 'a'), (2, NULL, 'a')",
    )
    start = source.start()
    source.execute("UPDATE t SET n = 'b'")

    rows = sorted(rows_of(source.take(start), "public.t"), key=lambda r: str(r["id"]))

    assert [(r["big"], r["_unchanged"]) for r in rows] == [(None, ["big"]), (None, None)]


def test_a_changed_key_does_not_turn_an_unchanged_toast_value_into_null(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, big text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "ALTER PUBLICATION published ADD TABLE t",
        "INSERT INTO t VALUES (1, repeat('x', 10000))",
    )
    start = source.start()
    source.execute("UPDATE t SET id = 2")

    (row,) = rows_of(source.take(start), "public.t")

    assert (row["id"], row["_key"], row["big"], row["_unchanged"]) == (2, {"id": 1}, None, ["big"])


def test_full_identity_resolves_toast_and_finds_rows_by_their_primary_key(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, big text, n text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "ALTER PUBLICATION published ADD TABLE t",
        "INSERT INTO t VALUES (1, repeat('x', 10000), 'a')",
    )
    start = source.start()
    source.execute("UPDATE t SET n = 'b'", "UPDATE t SET id = 7")

    rows = rows_of(source.take(start), "public.t")

    assert [(len(str(r["big"])), r["_unchanged"], r["_key"]) for r in rows] == [
        (10000, None, None),
        (10000, None, {"id": 1}),
    ]


def test_a_table_without_a_key_is_known_by_its_whole_old_row(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (a int, b text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "ALTER PUBLICATION published ADD TABLE t",
        "INSERT INTO t VALUES (1, NULL), (1, NULL)",
    )
    start = source.start()
    source.execute(
        "UPDATE t SET b = 'x' WHERE ctid = (SELECT min(ctid) FROM t)",
        "UPDATE t SET b = b",
        "DELETE FROM t WHERE b = 'x'",
    )

    rows = rows_of(source.take(start), "public.t")

    assert [(r["_op"], r["a"], r["b"], r["_key"]) for r in rows if r["b"] == "x" or r["_key"]] == [
        ("update", 1, "x", {"a": 1, "b": None}),
        ("update", 1, "x", None),
        ("delete", 1, "x", None),
    ]


def test_context_messages_say_who_and_why_and_nothing_is_guessed(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    context = '{"actor": "u-1", "reason": "転勤", "request_id": 7}'
    said = f"SELECT pg_logical_emit_message(true, 'rireki.context', '{context}')"
    source.transaction("INSERT INTO t VALUES (1)", said)
    source.transaction("INSERT INTO t VALUES (2)")
    source.transaction("SELECT pg_logical_emit_message(true, 'rireki.context', 'not json')", "INSERT INTO t VALUES (3)")
    source.transaction("SELECT pg_logical_emit_message(true, 'other', '{}')", "INSERT INTO t VALUES (4)")

    told = source.take(start).transactions.to_pylist()

    assert [(t["actor"], t["reason"], t["request_id"], t["rows"]) for t in told] == [
        ("u-1", "転勤", "7", 1),
        (None, None, None, 1),
        (None, None, None, 1),
        (None, None, None, 1),
    ]


def test_a_transaction_larger_than_a_slice_comes_out_whole(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    source.execute("INSERT INTO t SELECT i, repeat('y', 400) FROM generate_series(1, 60000) i")

    batch = source.take(start)

    rows = batch.tables[0].rows
    assert rows.num_rows == 60000
    assert rows["_ordinal"].to_pylist() == list(range(60000))
    assert batch.transactions["rows"].to_pylist() == [60000]


def test_columns_added_and_dropped_between_changes_of_one_batch_keep_both_shapes(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    source.execute(
        "INSERT INTO t VALUES (1, 'a')",
        "ALTER TABLE t ADD w int DEFAULT 5",
        "INSERT INTO t VALUES (2, 'b')",
        "ALTER TABLE t DROP v",
        "INSERT INTO t VALUES (3, 6)",
    )

    shapes = [[c.name for c in changes.relation.columns] for changes in source.take(start).tables]

    assert shapes == [["id", "v"], ["id", "v", "w"], ["id", "w"]]


def test_what_was_not_confirmed_comes_again_and_what_was_does_not(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    source.execute("INSERT INTO t VALUES (1)")
    first = source.take(start, confirm=False)

    again = source.take(start, confirm=True)
    source.execute("INSERT INTO t VALUES (2)")
    after = source.take(again.end_lsn)

    assert rows_of(again, "public.t") == rows_of(first, "public.t")
    assert [r["id"] for r in rows_of(after, "public.t")] == [2]


def test_an_idle_source_says_how_far_it_has_read(source: Source) -> None:
    source.execute(
        "CREATE TABLE unpublished (id int)", "CREATE TABLE t (id int)", "ALTER PUBLICATION published ADD TABLE t"
    )
    start = source.start()
    assembler = source.assembler(start)
    with source.stream().start() as stream:
        receive_until(stream, assembler, beat(source.dsn))
        source.execute("INSERT INTO unpublished SELECT generate_series(1, 1000)")
        (end,) = source.database.rows("SELECT pg_current_wal_flush_lsn()::text")[0]

        idle = None
        while idle is None or str(idle.end_lsn) < end:
            stream.ask_position()
            arrived = stream.receive(5)
            assert arrived is not None, "the server didn't answer"
            assembler.feed(arrived.messages)
            taken = assembler.take()
            if arrived.keepalive is not None and taken is None:
                idle = assembler.idle_batch(arrived.keepalive.wal_end, arrived.keepalive.server_time) or idle

    assert idle.row_count == 0


def test_keepalives_are_answered_while_nobody_takes_what_arrives(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    with source.database.connect() as connection:
        connection.execute(f"ALTER DATABASE {source.database.name} SET wal_sender_timeout = '1s'")

    # The buffer holds a fraction of what comes; a server that hears nothing hangs up after a second.
    with source.stream(buffer_bytes=1 << 20).start() as stream:
        source.execute("INSERT INTO t SELECT i, repeat('z', 1000) FROM generate_series(1, 20000) i")
        threading.Event().wait(4)
        batch = receive_until(stream, source.assembler(start), beat(source.dsn))

    assert batch.row_count == 20000


def test_a_slot_in_use_names_the_process_that_holds_it(source: Source) -> None:
    source.start()

    with source.stream().start(), pytest.raises(SlotInUse, match=r"in use by process \d+"):
        source.stream().start()


def test_a_dropped_slot_and_a_dropped_publication_are_told_apart(source: Source) -> None:
    with pytest.raises(SlotLost, match="doesn't exist"):
        source.stream().start()

    # PostgreSQL 18 streams nothing from a publication that isn't there, without an error: so the catalogue is asked.
    with pytest.raises(PublicationMissing):
        Catalogue(source.dsn).published("absent")


def test_confirming_moves_the_slot_and_leaving_tells_the_last_position(source: Source) -> None:
    start = source.start()

    batch = source.take(start)

    with source.database.connect() as connection:
        state = read_slot(connection, source.slot)
    assert state is not None and state.confirmed_flush == batch.end_lsn


@pytest.mark.parametrize(("pg_type", "value"), [("money", "$1.50"), ("aclitem[]", ["=r/postgres"])])
def test_what_only_postgresql_can_read_in_binary_is_said_and_carried_as_text(
    source: Source, pg_type: str, value: object
) -> None:
    source.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {pg_type})", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    literal = value if isinstance(value, str) else "{=r/postgres}"
    source.execute(f"INSERT INTO t VALUES (1, NULL), (2, '{literal}')")

    with pytest.raises(BinaryUnreadable):
        source.take(start)

    assert [row["v"] for row in rows_of(source.take(start, binary=False), "public.t")] == [None, value]
