"""Asking as of the past: a point look-up and an aggregate, beside the same on a plain sorted Parquet file of that
moment, and beside replaying the changelog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np

from cdc.lsn import Lsn
from lakehouse.lake import Lake
from lakehouse.root import LakeRoot
from lakehouse.writer import LakeWriter
from tests.benchmarks.lake.bench import Figure, alone, median_s
from tests.benchmarks.lake.wide import WIDE, copied, random_ids, rows_of
from tests.lakehouse.bulk import BulkSource

CUTS = 20
AGGREGATE = "SELECT kind, count(*), sum(amount::DECIMAL(18, 2)), max(score) FROM {} GROUP BY kind ORDER BY kind"
LOOK_UP = "SELECT * EXCLUDE (_valid_from_lsn, _valid_from) FROM {} WHERE id = {}"
AGAINST_PARQUET, AGAINST_REPLAY = 1.5, 1 / 10


def as_of(folder: Path, count: int) -> list[Figure]:
    """``count`` rows and a tenth as many changes in 20 cuts behind the moment that is asked for; and one between two
    cuts, with half a cut's changes to add."""
    root = LakeRoot(str(folder / "lake"))
    source = alone(copied, root, count)
    at_cut, between = alone(_changed, root, count, source)
    figures = []
    for where, lsn in (("at a cut", at_cut), ("between two cuts", between)):
        figures += alone(_compared, folder, count, lsn, where)
    return figures


def _changed(root: LakeRoot, count: int, source: BulkSource) -> tuple[Lsn, Lsn]:
    """The last but one cut, and a commit after it."""
    writer = LakeWriter.open(root, "main")
    size = count // 10 // CUTS
    at_cut = between = Lsn(0)
    for number in range(CUTS + 1):
        source.commit(
            WIDE, "update", rows_of(random_ids(size // 2, count, 100 + number), 200 + number), transactions=50
        )
        middle = Lsn(source.position)
        source.commit(
            WIDE, "update", rows_of(random_ids(size // 2, count, 300 + number), 400 + number), transactions=50
        )
        cut = source.cut(writer)
        if number == CUTS - 1:
            at_cut = cut.cut_lsn
        elif number == CUTS:
            between = middle
    writer.close()
    return at_cut, between


def _compared(folder: Path, count: int, lsn: Lsn, where: str) -> list[Figure]:
    root, plain = LakeRoot(str(folder / "lake")), str(folder / f"plain-{lsn.value}.parquet")
    lake = Lake.open(root)
    at = str(lsn)
    peer = duckdb.connect()
    peer.execute("SET TimeZone = 'UTC'")
    peer.register("moment", lake.sql("FROM public.wide ORDER BY id", at=at).arrow)
    peer.execute(f"COPY (FROM moment) TO '{plain}' (COMPRESSION zstd)")
    peer.unregister("moment")
    changelog = f"read_parquet('{root.uri('changelog', WIDE.name)}/*/*.parquet')"
    # What anyone would write who knows that this history holds no deletes.
    replay = (
        "(SELECT kind, amount, score FROM (SELECT id, unnest(arg_max("
        "struct_pack(kind := kind, amount := amount, score := score), (_commit_lsn, _ordinal)))"
        f" FROM {changelog} WHERE _commit_lsn <= {lsn.value} AND _op <> 'truncate' GROUP BY id))"
    )
    ids = iter(np.random.default_rng(5).integers(0, count, 1_000).tolist())

    def ours(query: str) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in lake.sql(query, at=at).arrow.to_pylist()]

    def theirs(query: str) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in peer.execute(query).to_arrow_table().to_pylist()]

    look_ups: list[Callable[[], object]] = [
        lambda: ours(LOOK_UP.format("public.wide", next(ids))),
        lambda: theirs(LOOK_UP.format(f"'{plain}'", next(ids))),
    ]
    aggregates: list[Callable[[], object]] = [
        lambda: ours(AGGREGATE.format("public.wide")),
        lambda: theirs(AGGREGATE.format(f"'{plain}'")),
    ]
    for number in (3, count // 2, count - 1):
        assert ours(LOOK_UP.format("public.wide", number)) == theirs(LOOK_UP.format(f"'{plain}'", number))
    assert ours(AGGREGATE.format("public.wide")) == theirs(AGGREGATE.format(f"'{plain}'"))
    figures = []
    for name, (our, their) in (("look-up", look_ups), ("aggregate", aggregates)):
        our_s, their_s = median_s(our), median_s(their)
        told = f"{our_s * 1e3:.0f} ms against {their_s * 1e3:.0f} ms"
        figures.append(Figure(f"{name} {where} / plain Parquet", our_s / their_s, AGAINST_PARQUET, told))
        if name == "aggregate":
            replay_s = median_s(lambda: theirs(AGGREGATE.format(replay)), 1)
            told = f"{our_s * 1e3:.0f} ms against {replay_s * 1e3:.0f} ms"
            figures.append(Figure(f"{name} {where} / changelog replayed", our_s / replay_s, AGAINST_REPLAY, told))
    return figures
