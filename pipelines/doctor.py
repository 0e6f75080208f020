"""Everything that must hold before a stream can run, as a list of checks; each failure names its fix.

``examine`` asks all of them and reports; ``require`` asks the same ones and raises the first failure, so that
``init``, ``capture`` and ``drain`` refuse with the words that ``doctor`` would print. Nothing is written: the lake's
check puts one small object and removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from cdc.errors import RirekiError
from cdc.publication import table_standings
from cdc.source import Connection, address, connect
from lakehouse.errors import LakeEmpty
from lakehouse.stream_end import StreamEnd
from lakehouse.timeline import Timeline
from pipelines import source_checks as source
from pipelines.config import Config, load
from pipelines.holes import hole_of
from pipelines.recovery import gap_accepted
from pipelines.source_checks import Finding


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it runs, but not as you would wish
    FAILED = "failed"  # it can't run
    SKIPPED = "skipped"  # an earlier failure keeps it from being asked


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer. ``error`` is what ``require`` raises."""

    name: str
    state: State
    what: str
    fix: str = ""
    error: RirekiError | None = None


def examine(file: Path | None = None) -> list[Check]:
    """All checks for one configuration file, in order. Never raises a RirekiError."""
    try:
        config = load(file)
    except RirekiError as error:
        return [_failed("config", error), *_skipped("source", "lake")]
    return [Check("config", State.OK, str(config.file)), *checks(config)]


def require(config: Config) -> None:
    """Raises the first failure. A name that the lake can't hold doesn't stop a stream that has begun: that table waits
    alone.
    """
    has_begun = StreamEnd.read(config.lake_root(), config.stream.name).durable_to is not None
    no_failure(check for check in checks(config) if not (has_begun and check.name == "names"))


def no_failure(asked: Iterable[Check]) -> list[Check]:
    """The checks themselves, when none failed. Raises the first failure, without asking further."""
    answered = []
    for check in asked:
        if check.error is not None:
            raise check.error
        answered.append(check)
    return answered


def checks(config: Config) -> Iterator[Check]:
    """The checks of a configuration that is itself sound: source first, then the lake."""
    yield from server_checks(config)
    try:
        connection = connect(config.conninfo())
    except RirekiError:  # told by the server's checks
        yield from _skipped("publication", "slot")
    else:
        with connection:
            yield from publication_checks(connection, config)
    yield lake_check(config)
    yield _ask("carrying on", lambda: _carrying_on(config))
    yield _ask("tables held", lambda: _held(config))


def server_checks(config: Config) -> Iterator[Check]:
    """What must hold before there is a publication."""
    try:
        connection = connect(config.conninfo())
    except RirekiError as error:
        yield _failed("source", error)
        yield from _skipped("server version", "encoding", "wal_level", "room", "replication")
        return
    with connection:
        yield Check("source", State.OK, address(config.conninfo()))
        yield _ask("server version", lambda: source.server_version(connection))
        yield _ask("encoding", lambda: source.encoding(connection))
        yield _ask("wal_level", lambda: source.wal_level(connection))
        yield _ask("room", lambda: source.room(connection, config))
        yield _ask("replication", lambda: source.may_replicate(connection, config))


def publication_checks(connection: Connection, config: Config) -> Iterator[Check]:
    """What must hold of the publication, its tables and the slot; asked inside the caller's transaction, if any."""
    name = config.stream.publication_name
    standings = table_standings(connection, name)
    yield _ask("publication", lambda: source.publication(connection, name, standings))
    for standing in standings:
        yield _ask(f"table {standing.name}", partial(source.table, standing, connection))
    if standings:
        yield _ask("column types", lambda: source.column_types(connection, config))
        yield _ask("names", lambda: source.names(connection, config))
    yield _ask("slot", lambda: source.slot(connection, config))


def lake_check(config: Config) -> Check:
    return _ask("lake", lambda: _lake(config))


def _lake(config: Config) -> Finding:
    root = config.lake_root()
    root.check()
    if not root.is_plain:
        return Finding(root.url, "nothing, unless you read it with Polars, which opens letters, digits and -_./~ only")
    return Finding(root.url)


def _carrying_on(config: Config) -> Finding:
    """Whether the slot continues where the lake ends, or somebody has accepted that it doesn't."""
    end = StreamEnd.read(config.lake_root(), config.stream.name)
    hole = hole_of(config, end)
    if hole is None:
        return Finding(f"at {end.durable_to}" if end.durable_to else "from the first copy on")
    if not gap_accepted(config, end):
        raise hole
    return Finding(str(hole), "accepted: the next rireki capture makes a new slot and copies every table again")


def _held(config: Config) -> Finding:
    """Tables whose state stays as it was, because something stands against the changes that came since."""
    try:
        gaps = [gap for gap in Timeline.read(config.lake_root()).gaps if gap.table is not None and gap.to_lsn is None]
    except LakeEmpty:
        gaps = []
    if not gaps:
        return Finding("none")
    told = "; ".join(f"{gap.table} since {gap.from_lsn}: {gap.reason}" for gap in gaps)
    return Finding(told, "once what stands against it is gone: rireki replay TABLE, or rireki resync TABLE")


def _ask(name: str, question: Callable[[], Finding]) -> Check:
    try:
        found = question()
    except RirekiError as error:
        return _failed(name, error)
    return Check(name, State.WARNING if found.warning else State.OK, found.what, found.warning)


def _failed(name: str, error: RirekiError) -> Check:
    return Check(name, State.FAILED, str(error), error.fix, error)


def _skipped(*names: str) -> Iterable[Check]:
    return (Check(name, State.SKIPPED, "not asked") for name in names)
