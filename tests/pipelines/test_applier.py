"""While the stream is behind its source a cut waits for the batches that follow; never longer than is said."""

from __future__ import annotations

from pathlib import Path
from queue import Queue
from threading import Event

import pytest

from cdc.batch import Batch
from lakehouse.cuts import Cut
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from pipelines.applier import Applier
from tests.lakehouse.source import USERS, Source, insert

PATIENCE_S = 60.0


@pytest.fixture
def local_root(tmp_path: Path) -> LakeRoot:
    return LakeRoot(f"file://{tmp_path / 'lake'}")


def test_one_cut_covers_the_batches_of_a_stream_that_was_behind(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    cuts = Queue[Cut]()

    with Applier(writer, cuts.put, longest_wait_s=PATIENCE_S) as applier:
        for _ in range(3):
            batch = _appended(writer, source)
            applier.reach(batch.end_lsn, batch.source_time, is_behind=True)
        last = _appended(writer, source)
        applier.reach(last.end_lsn, last.source_time)
        made = cuts.get(timeout=PATIENCE_S / 2)

    assert made.cut_lsn == last.end_lsn.before() == writer.cut_at
    assert cuts.empty()


def test_a_cut_that_waits_is_made_once_nothing_more_is_on_its_way(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    batch, cuts = _appended(writer, source), Queue[Cut]()

    with Applier(writer, cuts.put, longest_wait_s=PATIENCE_S) as applier:
        applier.reach(batch.end_lsn, batch.source_time, is_behind=True)
        applier.catch_up()

        assert cuts.get(timeout=PATIENCE_S / 2).cut_lsn == batch.end_lsn.before()


def test_a_stream_that_stays_behind_is_cut_all_the_same(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    batch, cuts = _appended(writer, source), Queue[Cut]()

    with Applier(writer, cuts.put, longest_wait_s=0.1) as applier:
        applier.reach(batch.end_lsn, batch.source_time, is_behind=True)

        assert cuts.get(timeout=PATIENCE_S).cut_lsn == batch.end_lsn.before()


def test_a_cut_waits_no_longer_than_memory_holds_what_it_needs(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(local_root, "main", tail_bytes=10_000)
    writer.append_copy(source.copy(USERS, []))
    batch, cuts = _appended(writer, source), Queue[Cut]()
    assert not writer.must_cut_soon

    with Applier(writer, cuts.put, longest_wait_s=PATIENCE_S) as applier:
        while not writer.must_cut_soon:
            batch = _appended(writer, source)
        applier.reach(batch.end_lsn, batch.source_time, is_behind=True)

        assert cuts.get(timeout=PATIENCE_S / 2).cut_lsn == batch.end_lsn.before()


def test_leaving_makes_no_cut_that_waits(local_root: LakeRoot) -> None:
    source, writer = Source(), LakeWriter(local_root, "main")
    writer.append_copy(source.copy(USERS, []))
    batch, made = _appended(writer, source), Event()

    with Applier(writer, lambda _: made.set(), longest_wait_s=PATIENCE_S) as applier:
        applier.reach(batch.end_lsn, batch.source_time, is_behind=True)

    assert not made.is_set() and writer.cut_at is None


def _appended(writer: LakeWriter, source: Source) -> Batch:
    source.commit(insert(USERS, id=source.position, name="n", bio="b"))
    batch = source.batch()
    writer.append(batch)
    return batch
