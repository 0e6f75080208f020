"""Changes that only the catalogue shows, found while a copy is under way that began before them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from cdc.batch import TableCopy
from cdc.catalogue import Catalogue
from cdc.copy import copy_table, exported_snapshot
from cdc.relation import TableName
from lakehouse.errors import CopyOvertaken
from lakehouse.writer import LakeWriter
from pipelines.watch import Watch
from tests.end_to_end.conftest import Pipeline

T = TableName("public", "t")
SILENTLY = "ALTER TABLE t ALTER v TYPE text USING v || '{}'"


@pytest.fixture
def streamed(pipeline: Pipeline) -> Pipeline:
    pipeline.database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
        f"ALTER PUBLICATION {pipeline.database.name} ADD TABLE t",
    )
    pipeline.drain()
    return pipeline


@contextmanager
def watched(pipeline: Pipeline) -> Iterator[tuple[LakeWriter, Watch]]:
    """The lake's writer, and the catalogue as the last capture left it."""
    with closing(LakeWriter.open(pipeline.config.lake_root(), pipeline.config.stream.name)) as writer:
        yield writer, Watch(pipeline.config.conninfo(), pipeline.config.stream.publication_name, writer)


def copied(pipeline: Pipeline) -> TableCopy:
    """What someone asked for: a copy of all the table, not in the lake yet."""
    dsn, catalogue = pipeline.config.conninfo(), Catalogue(pipeline.config.conninfo())
    (table,) = catalogue.published(pipeline.config.stream.publication_name)
    with exported_snapshot(dsn) as snapshot:
        return copy_table(dsn, pipeline.config.stream.name, table, catalogue, snapshot)


def is_right(pipeline: Pipeline) -> bool:
    """Once capture has gone on: what the lake holds is the source's, and it vouches for it."""
    pipeline.drain()
    return pipeline.reconcile_drained().mismatches == 0 and pipeline.lake().sql("FROM public.t").as_of.complete


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_copy_from_before_a_silent_change_is_overtaken_by_the_look_that_finds_it(streamed: Pipeline) -> None:
    with watched(streamed) as (writer, watch):
        copy = copied(streamed)
        streamed.database.execute(SILENTLY.format("!"))
        watch.look()

        with pytest.raises(CopyOvertaken, match="it is copied again"):
            writer.append_copy(copy)

        held = writer.held(T)
        assert held is not None and held.hold.asks_for_copy
    assert is_right(streamed)


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_copy_from_between_two_silent_changes_is_overtaken_though_the_table_is_held_since_the_first(
    streamed: Pipeline,
) -> None:
    with watched(streamed) as (writer, watch):
        streamed.database.execute(SILENTLY.format("!"))
        watch.look()
        copy = copied(streamed)
        streamed.database.execute(SILENTLY.format("?"))
        watch.look()

        with pytest.raises(CopyOvertaken, match="it is copied again"):
            writer.append_copy(copy)

        held = writer.held(T)
        assert held is not None and held.hold.asks_for_copy
    assert is_right(streamed)


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_copy_from_before_a_silent_change_that_is_in_the_lake_by_the_look_doesnt_end_its_hold(
    streamed: Pipeline,
) -> None:
    with watched(streamed) as (writer, watch):
        copy = copied(streamed)
        streamed.database.execute(SILENTLY.format("!"))
        writer.append_copy(copy)
        watch.look()

        held = writer.held(T)
        assert held is not None and held.hold.asks_for_copy
        assert writer.copied_at(T) == copy.snapshot_lsn <= held.at
    assert is_right(streamed)


@pytest.mark.parametrize("pipeline", ["file"], indirect=True)
def test_a_copy_from_behind_the_look_ends_the_hold(streamed: Pipeline) -> None:
    with watched(streamed) as (writer, watch):
        streamed.database.execute(SILENTLY.format("!"))
        watch.look()
        copy = copied(streamed)
        watch.look()

        writer.append_copy(copy)

        assert writer.held(T) is None
    assert is_right(streamed)
