"""``rireki up``: the whole stack on one machine, kept running until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from infra.state import StateFolder
from pipelines.cli.console import COMMON, DONE, Common, emit, note, say
from pipelines.stack import Stack


def up(
    *,
    s3: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    state: Path = Path(".rireki"),
    ui: Annotated[bool, Parameter(show_default=False)] = True,
    ui_port: int | None = None,
    postgres_port: int | None = None,
    common: Common = COMMON,
) -> int:
    """Run PostgreSQL, the services, capture and the Dagster UI until stopped; a restart continues.

    Parameters
    ----------
    s3
        Keep the lake in an S3 stand-in. It forgets everything when the stack stops.
    state
        The folder that holds all of it; safe to delete while nothing runs.
    ui
        Start Dagster too (the default), or not.
    ui_port
        The port of Dagster's UI; free ones are chosen, and kept for the next start.
    postgres_port
        The port of PostgreSQL.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    tell = note if common.json else say
    asked = {"dagster": ui_port, "postgres": postgres_port}
    ports = {name: port for name, port in asked.items() if port is not None}
    with StateFolder(state) as folder, Stack(folder, s3=s3, ui=ui, ports=ports, tell=tell) as stack:
        if common.json:
            emit(urls(stack))
        else:
            advise(stack)
        stop.wait()
        note("stopping …")
    return DONE


def urls(stack: Stack) -> dict[str, str | None]:
    return {
        "config": str(stack.config_file),
        "source": stack.config.shown_dsn,
        "lake": stack.config.lake_root().url,
        "directory": stack.directory_url,
        "asset": stack.asset_url,
        "auth": stack.auth_url,
        "dagster": stack.ui_url,
    }


def advise(stack: Stack) -> None:
    """What to type next, from another terminal."""
    config = "" if stack.config_file == Path.cwd() / ".rireki" / "rireki.toml" else f" --config {stack.config_file}"
    say("")
    if stack.with_s3:
        say("The lake is in an S3 stand-in: it is gone when this stops.", style="yellow")
        say(f"  . {stack.s3_environment_file}")
    say("From another terminal:")
    say(f"  rireki status{config}")
    say(f'  rireki sql{config} "SELECT * FROM directory.users LIMIT 5"')  # noqa: S608 - advice, not a query
    say("Ctrl-C stops all of it; a restart continues.")
