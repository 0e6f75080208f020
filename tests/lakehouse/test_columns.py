from __future__ import annotations

import pyarrow as pa
import pytest

from cdc.relation import Relation
from lakehouse.errors import LakeError, NameCollision, SchemaChangeRefused
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.readers import READERS
from tests.lakehouse.source import Source, insert, relation, update

BEFORE = relation("public.t", {"id": pa.int64(), "a": pa.string()}, key=["id"])


def test_a_column_that_the_source_adds_is_null_in_older_rows_for_every_reader(local_root: LakeRoot) -> None:
    after = relation("public.t", {"id": pa.int64(), "a": pa.string(), "b": pa.list_(pa.int64())}, key=["id"])
    source, writer = Source(), LakeWriter.open(local_root, "main")
    writer.append_copy(source.copy(BEFORE, [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]))
    source.commit(insert(BEFORE, id=3, a="z"))
    source.commit(insert(after, id=4, a="w", b=[1]), update(after, id=1, a="x2", b=[]))
    batch = source.batch()
    writer.append(batch)

    writer.advance(batch.end_lsn.before(), batch.source_time)

    for read in READERS:
        rows = read(local_root, local_root.uri("current", BEFORE.name), None).to_pylist()
        assert {row["id"]: row["b"] for row in rows} == {1: [], 2: None, 3: None, 4: [1]}, read.__name__


@pytest.mark.parametrize(
    ("after", "error", "said"),
    [
        (relation("public.t", {"id": pa.int64()}, ["id"]), SchemaChangeRefused, "column a is no longer published"),
        (
            relation("public.t", {"id": pa.int64(), "a": pa.int64()}, ["id"]),
            SchemaChangeRefused,
            "column a was string and is now int64",
        ),
        (
            relation("public.t", {"id": pa.int64(), "a": pa.string()}, ["a"]),
            SchemaChangeRefused,
            r"the key was \(id\) and is now \(a\)",
        ),
        (
            relation("public.t", {"id": pa.int64(), "a": pa.string(), "A": pa.string()}, ["id"]),
            NameCollision,
            "a and A differ only by case",
        ),
        (
            relation("public.t", {"id": pa.int64(), "a": pa.string(), "_op": pa.string()}, ["id"]),
            NameCollision,
            "column _op has a name that the lake uses itself",
        ),
    ],
    ids=["left out", "other type", "other key", "differs by case", "our own name"],
)
def test_any_other_change_is_refused_by_name_and_nothing_is_written(
    local_root: LakeRoot, after: Relation, error: type[LakeError], said: str
) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    source.commit(insert(BEFORE, id=1, a="x"))
    first = source.batch()
    writer.append(first)
    source.commit(insert(after, id=2))

    with pytest.raises(error, match=said) as raised:
        writer.append(source.batch())

    assert raised.value.subject == "public.t"
    assert raised.value.fix
    assert writer.durable_to == first.end_lsn
