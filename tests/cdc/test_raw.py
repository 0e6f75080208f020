"""Changes that can't be decoded come out as they were sent, and decode later to what they would have been."""

from __future__ import annotations

import pyarrow as pa

from cdc.assemble import Assembler, DecoderOf
from cdc.batch import Batch
from cdc.changes import RelationDecoder
from cdc.errors import ProtocolViolation, TypeNotSupported
from cdc.lsn import Lsn
from cdc.protocol import RelationMessage, parse_relation
from cdc.raw import decoded
from cdc.slot import beat
from tests.cdc.conftest import Source, decoders, receive_until


def committed(source: Source) -> Lsn:
    """Changes of every kind of the table ``t``, and one of another in the same transaction."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a text, big text)", "CREATE TABLE other (id int PRIMARY KEY)")
    source.execute("ALTER PUBLICATION published ADD TABLE t, other")
    start = source.start()
    source.execute(
        "BEGIN; INSERT INTO t VALUES (1, 'one', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)),"
        " (2, 'two', NULL); INSERT INTO other VALUES (1); UPDATE t SET a = 'eins' WHERE id = 1; COMMIT",
        "UPDATE t SET id = 20 WHERE id = 2",
        "DELETE FROM t WHERE id = 1",
        "TRUNCATE t",
    )
    return start


def taken(source: Source, start: Lsn, decoder_of: DecoderOf) -> Batch:
    with source.stream().start() as stream:
        return receive_until(stream, Assembler("test", start, decoder_of), beat(source.dsn))


def test_a_refused_relation_comes_out_raw_and_decodes_to_the_same_rows(source: Source) -> None:
    start, decoder_of = committed(source), decoders(source.dsn)

    def refuse(message: RelationMessage) -> RelationDecoder:
        if message.name.table == "t":
            raise TypeNotSupported("nobody knows it", subject="public.t.a")
        return decoder_of(message)

    expected, found = taken(source, start, decoder_of), taken(source, start, refuse)

    (raw,) = found.raw
    (wanted,) = (one.rows for one in expected.tables if one.relation.name.table == "t")
    assert [one.relation.name.table for one in found.tables] == ["other"]
    assert (str(raw.name), raw.reason) == ("public.t", "nobody knows it")
    assert decoded(raw.rows, decoder_of(parse_relation(raw.announced))).equals(wanted)
    assert wanted["_op"].to_pylist() == ["insert", "insert", "update", "update", "delete", "truncate"]
    assert found.transactions.equals(expected.transactions)


def test_rows_that_cannot_be_read_take_no_other_table_along(source: Source) -> None:
    start, decoder_of = committed(source), decoders(source.dsn)

    class Failing(RelationDecoder):
        def decode(self, *_: object) -> pa.RecordBatch:
            raise ProtocolViolation("a row with other columns than described", subject="public.t")

    def failing(message: RelationMessage) -> RelationDecoder:
        decoder = decoder_of(message)
        return Failing(decoder.relation, decoder._types) if message.name.table == "t" else decoder

    batch = taken(source, start, failing)

    (raw,) = batch.raw
    assert "a row can't be read: public.t: a row with other columns" in raw.reason
    assert raw.rows.num_rows == 6
    assert [one.relation.name.table for one in batch.tables] == ["other"]
