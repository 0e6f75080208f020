"""What maintenance does beside the stream, for the command line and Dagster: keep the promise, build the intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cdc.relation import TableName
from lakehouse.history_build import Built, build_history
from lakehouse.lake import Lake
from lakehouse.maintenance import LastRun, Maintained, maintain
from lakehouse.sql import unknown_table
from pipelines.config import Config


def keep_promise(
    config: Config, tables: Sequence[TableName] = (), *, accept_less: bool = False, dry_run: bool = False
) -> Iterator[Maintained]:
    """One run by what ``[retention]`` says. Raises PromiseBroken, LakeError."""
    return maintain(
        config.lake_root(),
        config.retention.promise(),
        datetime.now(UTC),
        tables=tables,
        accept_less=accept_less,
        dry_run=dry_run,
    )


def build_histories(
    config: Config,
    tables: Sequence[TableName] = (),
    *,
    rebuild: bool = False,
    on_table: Callable[[TableName], None] = lambda _: None,
) -> Iterator[Built]:
    """Bring these tables' intervals, or every table's, to the newest cut.

    Raises LakeError; of these UnknownTable before anything is built.
    """
    lake = Lake.open(config.lake_root())
    cut = lake.at(None).lsn
    held = lake.tables()
    for name in tables:
        if name not in held:
            raise unknown_table(str(name), held)
    for name in tables or held:
        on_table(name)
        yield build_history(lake.root, name, cut, rebuild=rebuild)


def trouble(last: LastRun | None, now: datetime, within: timedelta) -> str | None:
    """Why maintenance isn't as it should be; None if it is, or if nobody has ever begun with it."""
    if last is None:
        return None
    if last.refused:
        more = f" (and {len(last.refused) - 1} more)" if len(last.refused) > 1 else ""
        return f"maintenance refused: {last.refused[0]}{more}"
    late = now - last.at
    return f"nobody has maintained the lake for {late / timedelta(hours=1):.0f} h" if late > within else None
