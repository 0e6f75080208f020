"""Transactions that the server sends while they run: the same rows as when it sends them at their commit."""

from __future__ import annotations

import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.assemble import Assembler, Taken, Whole
from cdc.batch import Batch, Part
from cdc.errors import NoRoomToSpill, ProtocolViolation
from cdc.lsn import Lsn
from cdc.messages import Messages
from cdc.slot import beat
from cdc.streamed import StreamedTransactions
from tests.cdc import twin
from tests.cdc.conftest import Source, decoders, joined, receive_until, rows_of
from tests.cdc.test_scan_twin import change_messages, streams


def ahead(message: bytes, xid: int) -> bytes:
    return message[:1] + struct.pack(">I", xid) + message[1:]


@st.composite
def sent_ahead(draw: st.DrawFn, transactions: list[bytes]) -> list[bytes]:
    """The same transactions as a server might send some of them: in blocks between the others, with subtransactions
    that are rolled back, and with whole transactions that are."""
    whole: list[list[bytes]] = []
    for message in transactions:
        if message[:1] == b"B":
            whole.append([])
        whole[-1].append(message)
    blocks: list[list[tuple[bytes, int]]] = [[] for _ in whole]  # each to be sent before the transaction of its number
    for number, (begin, *body, commit) in enumerate(whole):
        xid = 1000 + number
        if not draw(st.booleans()):
            continue
        clock, lsn = commit[18:26], commit[2:10]
        whole[number] = [b"c" + struct.pack(">IB", xid, 0) + lsn + commit[10:18] + clock]
        assert begin[1:9] == lsn
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=2)))
        places = sorted(draw(st.lists(st.integers(0, number), min_size=len(cuts) + 1, max_size=len(cuts) + 1)))
        for place, start, end in zip(places, [0, *cuts], [*cuts, len(body)], strict=True):
            rolled_back = [ahead(draw(change_messages()), 7) for _ in range(draw(st.integers(0, 2)))]
            sent = [ahead(message, xid) for message in body[start:end]]
            at = draw(st.integers(0, len(sent)))
            block = [b"S" + struct.pack(">IB", xid, 1), *sent[:at], *rolled_back, *sent[at:], b"E"]
            if rolled_back:
                block.append(b"A" + struct.pack(">II", xid, 7))
            blocks[place].append((b"".join(struct.pack("<I", len(m)) + m for m in block), len(block)))
        if draw(st.booleans()):
            block = [b"S" + struct.pack(">IB", 5, 1), ahead(draw(change_messages()), 5), b"E"]
            block.append(b"A" + struct.pack(">II", 5, 5))
            blocks[number].append((b"".join(struct.pack("<I", len(m)) + m for m in block), len(block)))
    found: list[bytes] = []
    for number, messages in enumerate(whole):
        for framed, _ in blocks[number]:
            found += unframed(framed)
        found += messages
    return found


def divided(streamed: StreamedTransactions, messages: Messages) -> list[bytes]:
    return [message for framed in streamed.divide(messages) for message in unframed(bytes(framed.content))]


def unframed(framed: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(framed):
        (size,) = struct.unpack_from("<I", framed, at)
        found.append(framed[at + 4 : at + 4 + size])
        at += 4 + size
    return found


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_sent_ahead_comes_out_as_if_it_had_been_sent_at_its_commit(data: st.DataObject) -> None:
    plain = data.draw(streams())
    sent = data.draw(sent_ahead(plain))
    cut = data.draw(st.integers(0, len(sent)))
    streamed = StreamedTransactions()

    slices = [Messages.of(part) for part in (sent[:cut], sent[cut:]) if part]
    out = [message for piece in slices for message in divided(streamed, piece)]

    # Blocks need ids of their own here; that ids stay what they were is seen from a real server.
    assert [replace(one, xid=0) for one in twin.changes(out)] == [replace(one, xid=0) for one in twin.changes(plain)]


def test_the_newest_description_of_a_table_holds_again_behind_a_transaction_that_was_sent_an_older_one() -> None:
    def relation(column: bytes) -> bytes:
        return b"R" + struct.pack(">I", 1) + b"s\0t\0d" + struct.pack(">H", 1) + b"\1" + column + b"\0" + bytes(8)

    xid = struct.pack(">I", 9)
    streamed = StreamedTransactions()
    sent = [
        b"S" + xid + b"\1",
        ahead(relation(b"old"), 9),
        b"E",
        relation(b"new"),
        b"c" + xid + struct.pack(">BQQq", 0, 5, 6, 0),
    ]

    out = divided(streamed, Messages.of(sent))

    assert [m[:1] for m in out] == [b"R", b"B", b"R", b"C", b"R"]
    assert [m for m in out if m[:1] == b"R"] == [relation(b"new"), relation(b"old"), relation(b"new")]


def test_a_message_larger_than_a_chunk_comes_back_whole() -> None:
    big = b"I" + bytes(4) + b"\7" * (11 << 20)
    xid = struct.pack(">I", 9)
    streamed = StreamedTransactions()
    sent = [b"S" + xid + b"\1", ahead(b"T" + bytes(5), 9), ahead(big, 9), ahead(b"T" + bytes(5), 9), b"E"]
    sent.append(b"c" + xid + struct.pack(">BQQq", 0, 5, 6, 0))

    out = divided(streamed, Messages.of(sent))

    assert [m[:1] for m in out] == [b"B", b"T", b"I", b"T", b"C"]
    assert out[2] == big


def test_a_commit_of_what_never_began_is_told() -> None:
    commit = b"c" + struct.pack(">IBQQq", 9, 0, 5, 6, 0)

    with pytest.raises(ProtocolViolation, match="transaction 9"):
        list(StreamedTransactions().divide(Messages.of([commit])))


def test_nowhere_to_spill_names_the_folder_and_what_to_set(tmp_path: Path) -> None:
    streamed = StreamedTransactions(tmp_path / "gone")
    block = [b"S" + struct.pack(">IB", 9, 1), ahead(b"I" + bytes(2 << 20), 9), b"E"]

    with pytest.raises(NoRoomToSpill, match="gone") as told:
        list(streamed.divide(Messages.of(block)))

    assert "spill_dir" in told.value.fix


def make_short_of_memory(source: Source) -> None:
    """From here on the server sends ahead what is larger than 64 kB."""
    with source.database.connect() as connection:
        connection.execute(f"ALTER DATABASE {source.database.name} SET logical_decoding_work_mem = '64kB'")


def take_all(source: Source, start: Lsn, **bounds: int) -> tuple[list[Taken], StreamedTransactions]:
    """Everything committed so far, not confirmed, as it is handed out; fed a hundred messages at a time."""
    taken: list[Taken] = []
    streamed = StreamedTransactions()
    assembler = Assembler("test", start, decoders(source.dsn), streamed, **bounds)
    with source.stream().start() as stream:
        until = beat(source.dsn)
        while not any(isinstance(one, Whole) and one.batch.end_lsn >= until for one in taken):
            arrived = stream.receive(10)
            assert arrived is not None, "the server fell silent"
            for first in range(0, arrived.messages.count, 100):
                assembler.feed(arrived.messages.part(first, min(first + 100, arrived.messages.count)))
                taken += iter(assembler.take, None)
                while assembler.has_more:
                    assembler.proceed()
                    taken += iter(assembler.take, None)
    return taken, streamed


def test_transactions_sent_ahead_interleaved_and_rolled_back_give_the_same_rows_as_others(source: Source) -> None:
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "CREATE TABLE u (id int PRIMARY KEY, v text)",
        "ALTER PUBLICATION published ADD TABLE t, u",
    )
    start = source.start()
    fill = "INSERT INTO {} SELECT i, repeat('x', 100) FROM generate_series({}, {}) i"
    with source.database.connect(autocommit=False) as one, source.database.connect(autocommit=False) as two:
        one.execute(fill.format("t", 1, 2000))
        two.execute(fill.format("u", 1, 2000))
        one.execute("SAVEPOINT a")
        one.execute(fill.format("t", 2001, 4000))
        one.execute("SAVEPOINT b")
        one.execute("UPDATE t SET v = 'wrong'")
        source.execute(fill.format("u", 9001, 9100))
        two.execute(fill.format("t", 5001, 7000))
        one.execute("ROLLBACK TO SAVEPOINT a")
        one.execute("UPDATE t SET v = 'right' WHERE id <= 1000")
        one.execute("SAVEPOINT c")
        one.execute("DELETE FROM t WHERE id BETWEEN 11 AND 20")
        one.execute("RELEASE SAVEPOINT c")
        one.execute("SELECT pg_logical_emit_message(true, 'rireki.context', '{\"actor\": \"one\"}')")
        two.execute("DELETE FROM u WHERE id <= 10")
        one.commit()
        with source.database.connect(autocommit=False) as three:
            three.execute(fill.format("t", 8001, 9999))
            three.rollback()
        two.commit()
    plain = joined(take_all(source, start)[0])

    make_short_of_memory(source)
    ahead_of_commit, streamed = take_all(source, start)
    in_parts, _ = take_all(source, start, hold_bytes=10_000, part_bytes=100_000)

    assert sum(isinstance(one, Part) for one in in_parts) >= 2
    for found in (joined(ahead_of_commit), joined(in_parts)):
        for table in ("public.t", "public.u"):
            assert rows_of(found, table) == rows_of(plain, table)
        told = found.transactions.to_pylist()
        assert told == plain.transactions.to_pylist()
        assert [(t["rows"], t["actor"]) for t in told] == [(100, None), (3010, "one"), (4010, None)]
    assert streamed.spilled_bytes == 0
    with source.database.connect() as connection:
        counted = "SELECT stream_txns, stream_bytes > 0 FROM pg_stat_replication_slots WHERE slot_name = %s"
        row = connection.execute(counted, (source.slot,)).fetchone()
        assert row is not None and row[0] >= 2 and row[1], "the server had no reason to send anything ahead"


def test_a_large_transaction_comes_in_parts_with_nothing_else_in_them(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    source.execute(
        "INSERT INTO t VALUES (-1, 'before')",
        "INSERT INTO t SELECT i, repeat('y', 200) FROM generate_series(1, 9000) i",
    )
    source.execute("INSERT INTO t VALUES (-2, 'behind')")

    taken, _ = take_all(source, start, hold_bytes=50_000, part_bytes=400_000)

    large = [one for one in taken if isinstance(one, Part)]
    lsns = {lsn for part in large for changes in part.tables for lsn in changes.rows["_commit_lsn"].to_pylist()}
    assert len(large) >= 4 and lsns == {large[0].commit_lsn.value}
    ends = [one.batch.transactions["rows"].to_pylist() for one in taken if isinstance(one, Whole)]
    assert [rows for rows in ends if rows] == [[1], [9000], [1]]
    whole = joined(taken)
    rows = rows_of(whole, "public.t")
    assert [row["id"] for row in rows] == [-1, *range(1, 9001), -2]
    assert [row["_ordinal"] for row in rows[1:-1]] == list(range(9000))


def test_a_table_altered_inside_a_transaction_that_is_sent_ahead_keeps_both_shapes(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    fill = "INSERT INTO t (id, v) SELECT i, repeat('x', 100) FROM generate_series({}, {}) i"
    source.transaction(
        fill.format(1, 2000),
        "SAVEPOINT s",
        "ALTER TABLE t ADD gone int DEFAULT 1",
        fill.format(2001, 4000),
        "ROLLBACK TO SAVEPOINT s",
        "ALTER TABLE t ADD w int DEFAULT 5",
        fill.format(2001, 4000),
    )
    source.execute("INSERT INTO t VALUES (5000, 'z', 6)")

    make_short_of_memory(source)
    found = joined(take_all(source, start)[0])

    shapes = [[c.name for c in changes.relation.columns] for changes in found.tables]
    rows = rows_of(found, "public.t")
    assert shapes == [["id", "v"], ["id", "v", "w"]]
    assert [row["id"] for row in rows] == [*range(1, 4001), 5000]
    assert {row.get("w") for row in rows[:2000]} == {None} and {row["w"] for row in rows[2000:4000]} == {5}


def test_an_idle_advance_passes_a_transaction_that_still_runs(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    make_short_of_memory(source)
    with source.database.connect(autocommit=False) as running:
        running.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i")
        with closing(StreamedTransactions()) as streamed, source.stream().start() as stream:
            assembler = Assembler("test", start, decoders(source.dsn), streamed)
            end = receive_until(stream, assembler, beat(source.dsn)).end_lsn
            assert streamed.spilled_bytes > 100_000

            idle: Batch | None = None
            source.database.execute("SELECT pg_logical_emit_message(false, 'other', repeat('.', 100), true)")
            while idle is None:
                stream.ask_position()
                arrived = stream.receive(10)
                assert arrived is not None, "the server didn't answer"
                assembler.feed(arrived.messages)
                if arrived.keepalive is not None:
                    idle = assembler.idle_batch(arrived.keepalive.wal_end, arrived.keepalive.server_time)
            running.commit()
            rest = receive_until(stream, assembler, beat(source.dsn))

    assert idle.end_lsn > end
    assert len(rows_of(rest, "public.t")) == 5000
    assert min(rest.transactions["commit_lsn"].to_pylist()) >= idle.end_lsn.value


def test_what_was_replicated_from_elsewhere_comes_with_the_rest_and_says_from_where(source: Source) -> None:
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER PUBLICATION published ADD TABLE t")
    start = source.start()
    origin = f"elsewhere_{source.database.name}"
    fill = "INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series({}, {}) i"
    with source.database.connect() as connection:
        connection.execute("SELECT pg_replication_origin_create(%s)", (origin,))
        connection.execute("SELECT pg_replication_origin_session_setup(%s)", (origin,))
        for first in (1, 10_001):
            with connection.transaction():
                connection.execute("SELECT pg_replication_origin_xact_setup('0/ABC', '2020-01-01 00:00:00+00')")
                connection.execute(fill.format(first, first + 1999))
                connection.execute("UPDATE t SET v = 'y' WHERE id = %s", (first,))
        connection.execute("SELECT pg_replication_origin_session_reset()")
    source.execute("INSERT INTO t VALUES (0, 'from here')")
    plain = joined(take_all(source, start)[0])
    in_parts, _ = take_all(source, start, hold_bytes=10_000, part_bytes=100_000)
    assert any(isinstance(one, Part) for one in in_parts)

    make_short_of_memory(source)
    sent_ahead_too = joined(take_all(source, start)[0])
    source.execute(f"SELECT pg_replication_origin_drop('{origin}')")

    rows = rows_of(plain, "public.t")
    assert rows_of(sent_ahead_too, "public.t") == rows
    assert [row["id"] for row in rows] == [*range(1, 2001), 1, *range(10_001, 12_001), 10_001, 0]
    assert [row["_ordinal"] for row in rows] == [*range(2001), *range(2001), 0]
    assert plain.transactions["rows"].to_pylist() == [2001, 2001, 1]
    assert plain.transactions["origin"].to_pylist() == [origin, origin, None]
    assert plain.transactions["origin_lsn"].to_pylist() == [0xABC, 0xABC, None]
    assert sent_ahead_too.transactions["origin"].to_pylist() == [origin, origin, None]
    assert sent_ahead_too.transactions["origin_lsn"].to_pylist() == [None, None, None]  # it wasn't there yet
    told = joined(in_parts).transactions.select(["rows", "origin", "origin_lsn"]).to_pylist()
    assert told == plain.transactions.select(["rows", "origin", "origin_lsn"]).to_pylist()
