from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse import checkpoints, table_state
from lakehouse.errors import BucketMissing, CorruptCommit, LakeFromNewerVersion, LakeUnreachable, TwoWriters
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.lakehouse.readers import as_rows, with_duckdb
from tests.lakehouse.replay import as_bag, replay
from tests.lakehouse.source import USERS, Source, insert, update


def log_of(root: LakeRoot) -> Path:
    return Path(root.uri("changelog", USERS.name)) / "_delta_log"


def test_a_second_writer_of_a_table_is_told(local_root: LakeRoot) -> None:
    source = Source()
    one = LakeWriter.open(local_root, "main")
    source.commit(insert(USERS, id=1))
    one.append(source.batch())
    other = LakeWriter.open(local_root, "main")
    source.commit(insert(USERS, id=2))
    batch = source.batch()
    one.append(batch)

    with pytest.raises(TwoWriters, match="version 1"):
        other.append(batch)


def test_a_table_opened_from_a_checkpoint_is_the_one_that_was_written(
    lake_root: LakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_COMMITS", 3)
    source, writer = Source(), LakeWriter.open(lake_root, "main")
    writer.append_copy(source.copy(USERS, [{"id": n, "name": "n", "bio": "b"} for n in range(9)]))
    for n in range(7):
        source.commit(update(USERS, id=n, name=f"m{n}", unchanged=["bio"]))
        batch = source.batch()
        writer.append(batch)
        writer.advance(batch.end_lsn.before(), batch.source_time)
    writer.close()
    store = lake_root.store()
    assert store.get("current/public/users/_delta_log/_last_checkpoint") is not None

    reopened = LakeWriter.open(lake_root, "main")
    source.commit(update(USERS, id=0, name="again", unchanged=["bio"]))
    batch = source.batch()
    reopened.append(batch)
    reopened.advance(batch.end_lsn.before(), batch.source_time)

    rows = as_rows(with_duckdb(lake_root, lake_root.uri("current", USERS.name)))
    changes = with_duckdb(lake_root, lake_root.uri("changelog", USERS.name))
    changes = changes.sort_by([("_commit_lsn", "ascending"), ("_ordinal", "ascending")])
    assert as_bag(rows) == as_bag(replay(changes, USERS.key, [column.name for column in USERS.columns]))


def test_a_commit_cut_short_is_named(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    source.commit(insert(USERS, id=1))
    writer.append(source.batch())
    commit = log_of(local_root) / f"{0:020}.json"
    commit.write_bytes(commit.read_bytes()[:-20])

    with pytest.raises(CorruptCommit, match=r"00000000000000000000\.json can't be read"):
        LakeWriter.open(local_root, "main")


def test_a_lake_of_a_newer_format_is_left_alone(local_root: LakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    source, writer = Source(), LakeWriter.open(local_root, "main")
    source.commit(insert(USERS, id=1))
    writer.append(source.batch())
    monkeypatch.setattr(table_state, "FORMAT", 0)

    with pytest.raises(LakeFromNewerVersion, match="format 2"):
        LakeWriter.open(local_root, "main")


def test_a_check_leaves_nothing_behind(local_root: LakeRoot, s3_root: LakeRoot) -> None:
    local_root.check()
    s3_root.check()

    assert not Path(local_root.url).exists()
    assert s3_root.store().names("") == []


def test_a_missing_bucket_is_named(s3_root: LakeRoot) -> None:
    with pytest.raises(BucketMissing) as raised:
        LakeRoot("s3://no-such-bucket/lake", s3_root.options).check()

    assert raised.value.subject == "s3://no-such-bucket"


def test_a_store_that_does_not_answer_is_said_within_seconds() -> None:
    options = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    secrets = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}

    with pytest.raises(LakeUnreachable):
        LakeRoot("s3://bucket/lake", options | secrets).check()
