"""The command line, one command a file.

This file is the door: it parses, runs, and is the only place where an error becomes words and an exit code
(0 healthy or done, 1 attention, 2 failed, 130 interrupted).
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from cyclopts import App, CycloptsError

from cdc.errors import RirekiError
from pipelines.cli.console import DONE, FAILED, INTERRUPTED, emit, err, note, report
from pipelines.errors import CommandInvalid

# In the order in which a newcomer meets them.
COMMANDS = {
    "demo": "The whole story on an empty machine: stack, workload, capture, answers, reconciliation. Then stops.",
    "up": "The same stack, kept running, with the Dagster UI. Ctrl-C stops all of it.",
    "init": "Point it at your own PostgreSQL and lake.",
    "doctor": "Check configuration, source and lake; say the fix.",
    "capture": "Follow the source until stopped: the long-lived process.",
    "drain": "The same until a position, then stop.",
    "status": "How far the lake is, for each table.",
    "sql": "Ask in SQL, now or as of any commit.",
    "trace": "One row's whole life: values, who, why.",
    "versions": "Which Delta version stands for which source time and LSN.",
    "history": "Build the table of intervals: what each row was, from when to when.",
    "resync": "Copy tables again without stopping the stream.",
    "replay": "Take what is in quarantine, now that nothing stands against it.",
    "reconcile": "Compare source and lake by value at one LSN.",
    "maintain": "Keep what is promised, remove what nobody was promised.",
    "pin": "Keep the versions of one moment, whatever their age.",
    "unpin": "Take a pin out.",
    "rls": "Row security of the platform's tables: observe, log, enforce.",
    "outbox": "Hand domain events on to queues and webhooks, at least once, in order.",
}

app = App(
    name="rireki",
    help="Streams PostgreSQL into Delta Lake and answers for any commit in the past.",
    version=lambda: version("rireki"),
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for order, (name, summary) in enumerate(COMMANDS.items()):
    # By name, so that `rireki sql` doesn't import Dagster, and `rireki init` not DuckDB.
    app.command(f"pipelines.cli.{name}:{name}", name=name, help=summary, sort_key=order)


def main() -> None:
    """Entry point of ``rireki``."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing escapes but SystemExit."""
    as_json = "--json" in arguments
    try:
        code = app(list(arguments))
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except CycloptsError as error:
        report(_unusable(error, arguments), as_json=as_json)
        return FAILED
    except RirekiError as error:
        report(error, as_json=as_json)
        if "--debug" in arguments:
            traceback.print_exc()
        return error.exit_code
    except KeyboardInterrupt:
        note("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        _confess(error, as_json=as_json, debug="--debug" in arguments)
        return FAILED


def _unusable(error: CycloptsError, arguments: Sequence[str]) -> CommandInvalid:
    command = next((argument for argument in arguments if argument in COMMANDS), None)
    return CommandInvalid(
        " ".join(str(error).split()),
        subject=f"rireki {command}" if command else "rireki",
        fix=f"rireki {command} --help" if command else None,
    )


def _confess(error: Exception, *, as_json: bool, debug: bool) -> None:
    """Something that we didn't foresee: one line, and the trace in a file that can be sent along."""
    descriptor, name = tempfile.mkstemp(prefix="rireki-", suffix=".log")
    with os.fdopen(descriptor, "w") as log:
        traceback.print_exception(error, file=log)
    first = (str(error).splitlines() or [""])[0]
    if as_json:
        what = f"{type(error).__name__}: {first}"
        emit({"error": {"kind": "Unexpected", "subject": "rireki", "what": what, "next": f"read {name}"}})
        return
    err.print(f"✗ unexpected {type(error).__name__}: {first}", markup=False)
    err.print(f"  next: read {Path(name)}, or run the same command with --debug", markup=False)
    if debug:
        traceback.print_exception(error)


if __name__ == "__main__":
    main()
