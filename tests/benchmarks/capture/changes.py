"""Changes a second, from the open stream to the changelog durable and confirmed, by what pg_recvlogical needs for the
same bytes. Both read from slots made before the changes, one after the other, on the same server; of three rounds the
one with the ratio in the middle is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cdc.slot import beat
from tests.benchmarks.capture.bench import ROWS, Bench, Figure

Work = Callable[[Bench, str], None]
_PIECES = 100  # transactions, where the work isn't one
_ROUNDS = 3


def inserts(bench: Bench) -> list[Figure]:
    """In 100 transactions."""

    def work(bench: Bench, dsn: str) -> None:
        size = bench.rows // _PIECES
        for piece in range(_PIECES):
            bench.execute(dsn, f"INSERT INTO wide {ROWS.format(first=piece * size + 1, last=(piece + 1) * size)}")

    return _measure(bench, "inserts", 0.9, work)


def one(bench: Bench) -> list[Figure]:
    """All inserts in one transaction, which the server hands over while it runs."""

    def work(bench: Bench, dsn: str) -> None:
        bench.execute(dsn, f"INSERT INTO wide {ROWS.format(first=1, last=bench.rows)}")

    return _measure(bench, "one", 0.9, work)


def mix(bench: Bench) -> list[Figure]:
    """70 % updates, 20 % inserts, 10 % deletes, in 100 transactions."""
    base = bench.rows * 8 // 10

    def before(bench: Bench, dsn: str) -> None:
        bench.execute(dsn, f"INSERT INTO wide {ROWS.format(first=1, last=base)}")

    def work(bench: Bench, dsn: str) -> None:
        size = bench.rows // _PIECES
        updates, adds, deletes = size * 7 // 10, size * 2 // 10, size // 10
        for piece in range(_PIECES):
            first, gone = piece * updates, _PIECES * updates + piece * deletes
            new = ROWS.format(first=base + piece * adds + 1, last=base + (piece + 1) * adds)
            bench.execute(
                dsn,
                f"""WITH u AS (UPDATE wide SET i4 = i4 + 1, t = t || '!', at = now()
                               WHERE id > {first} AND id <= {first + updates}),
                         d AS (DELETE FROM wide WHERE id > {gone} AND id <= {gone + deletes})
                    INSERT INTO wide {new}""",
            )

    return _measure(bench, "mix", 0.9, work, before)


def tiny(bench: Bench) -> list[Figure]:
    """A fifth as many transactions of one row each."""

    def work(bench: Bench, dsn: str) -> None:
        row = ROWS.format(first="n", last="n")
        bench.execute(
            dsn,
            f"DO $$ BEGIN FOR n IN 1 .. {bench.rows // 5} LOOP INSERT INTO wide {row}; COMMIT; END LOOP; END $$",
        )

    return _measure(bench, "tiny", 0.8, work)


def _measure(bench: Bench, name: str, goal: float, work: Work, before: Work | None = None) -> list[Figure]:
    dsn = bench.database(name)
    if before is not None:
        before(bench, dsn)
    lakes, slots = [bench.lake(dsn) for _ in range(_ROUNDS)], [bench.peer_slot(dsn) for _ in range(_ROUNDS)]
    for lake in lakes:
        bench.copied(dsn, lake)
    work(bench, dsn)
    end = beat(dsn)
    rounds = [
        _round(name, goal, bench.peer_seconds(dsn, slot, end), bench.drain(lake, end))
        for lake, slot in zip(lakes, slots, strict=True)
    ]
    middle = sorted(rounds, key=lambda figure: figure.ratio)[_ROUNDS // 2]
    return [replace(middle, details=middle.details | {"rounds": " ".join(f"{one.ratio:.2f}" for one in rounds)})]


def _round(name: str, goal: float, peer_s: float, ours: dict[str, Any]) -> Figure:
    return Figure(
        name,
        "capture / pg_recvlogical",
        peer_s / ours["durable_s"],
        goal,
        {
            "rows": ours["rows"],
            "peer_s": peer_s,
            "durable_s": ours["durable_s"],
            "queryable_s": ours["queryable_s"],
            "starting_s": ours["starting_s"],
            "cpu_s_per_million": ours["durable_cpu_s"] / ours["rows"] * 1e6,
            "cpu_s_per_million_with_cuts": ours["queryable_cpu_s"] / ours["rows"] * 1e6,
            "peak_MiB": ours["peak_bytes"] >> 20,
        },
    )
