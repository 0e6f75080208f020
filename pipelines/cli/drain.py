"""``rireki drain``: like capture, until a position; then stop. For schedules, tests and hand-overs."""

from __future__ import annotations

from cdc.lsn import Lsn
from cdc.slot import current_position
from pipelines.capture import Capture
from pipelines.cli.console import ATTENTION, COMMON, DONE, Common, emit, note, plain, say, table
from pipelines.config import Config, load
from pipelines.doctor import require
from pipelines.errors import CommandInvalid
from pipelines.progress import as_sentence


def drain(*, until: str = "now", common: Common = COMMON) -> int:
    """Copy what isn't copied yet, stream and apply up to a position, and stop.

    Exit code 0: the lake vouches for all of it. 1: there is a gap.

    Parameters
    ----------
    until
        An LSN such as 16/B374D848, or now: where the source is when the command starts.
    """
    config = load(common.config)
    require(config)
    position = _position(until, config)
    report = Capture(config, on_progress=lambda event: note(as_sentence(event))).drain(position)
    shape = plain(report.as_object())
    if common.json:
        emit(shape)
    else:
        table(["table", "rows", "state"], [[name, t["rows"], t["state"]] for name, t in shape["tables"].items()])
        say(f"{shape['transactions']} transactions, {shape['rows']} rows, up to {shape['to_lsn']}")
        for gap in shape["gaps"]:
            say(f"gap: {gap}", style="yellow")
    return ATTENTION if shape["gaps"] else DONE


def _position(until: str, config: Config) -> Lsn:
    if until == "now":
        return current_position(config.conninfo())
    try:
        return Lsn.parse(until)
    except ValueError as error:
        raise CommandInvalid(str(error), subject="--until", fix="rireki drain --until now") from error
