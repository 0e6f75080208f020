"""``rireki demo``: the whole story on an empty machine, in under two minutes; then everything stops."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.status import Status
from rich.text import Text

from infra.state import StateFolder
from pipelines.cli.console import COMMON, DONE, FAILED, Common, emit, err, note, say, table
from pipelines.demo import Moment, Progress, Story, live_through, state_folder
from pipelines.stack import Stack


def demo(
    *,
    s3: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    state: Path | None = None,
    common: Common = COMMON,
) -> int:
    """PostgreSQL, services, a workload, capture, answers as of the past, reconciliation; then all of it stops.

    Exit code 0 only if not a single value differs. With --json, the last line holds the figures.

    Parameters
    ----------
    s3
        Keep the lake in an S3 stand-in instead of files; nothing of it is left afterwards.
    state
        The folder that is wiped and used; .rireki/demo unless given.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop in order, as for Ctrl-C
    began = time.monotonic()
    place = StateFolder(state or state_folder())
    place.destroy()
    progress = Progress()
    with Status(Text("starting …"), console=err) as line:

        def show() -> None:
            rows = progress.rows_durable + progress.rows_copied
            line.update(Text(f"working day of four chains of pharmacies: {rows} rows captured, {progress.cuts} cuts"))

        with place as folder, Stack(folder, s3=s3, ui=False, tell=note, on_event=progress.see) as stack:
            story = live_through(stack, progress, show)
            line.update(Text("stopping …"))
    seconds = time.monotonic() - began
    if common.json:
        emit(story.figures(seconds))
    else:
        tell(story, seconds)
        advise(stack.config_file, story, forgotten=s3)
    return FAILED if story.mismatches else DONE


def tell(story: Story, seconds: float) -> None:
    """The answers, then what they rest on."""
    say("")
    say(f"What could {story.user} do, then and now?", style="bold")
    table(["as of (source time)", "what happened", "status", "pharmacies", "roles", ""], map(_row, story.moments))
    say("")
    say("Who gave and took the roles, and why?", style="bold")
    table(["committed", "role", "", "who", "why", "request"], story.who)
    say("")
    say(f"Every table, value by value, at {story.reconciled_at}:", style="bold")
    table(
        ["table", "in PostgreSQL", "in the lake", "mismatches"],
        [[name, t["source_rows"], t["lake_rows"], t["mismatches"]] for name, t in story.tables.items()],
    )
    say("")
    verdict = "0 mismatches" if not story.mismatches else f"{story.mismatches} MISMATCHES"
    say(
        f"{verdict}; {story.workload['changes']} commands, {story.rows_captured} rows captured, {story.rows_in_lake} "
        f"in the lake; commit to queryable {story.delays['p50']} s (p50), {story.delays['p99']} s (p99); "
        f"{seconds:.0f} s in all",
        style="green" if not story.mismatches else "red",
    )


def advise(config: Path, story: Story, *, forgotten: bool) -> None:
    """Where to look next."""
    say("")
    if not forgotten:
        shown = config.relative_to(Path.cwd()) if config.is_relative_to(Path.cwd()) else config
        moment = story.moments[len(story.moments) // 2]
        say("The lake is still there, and needs no server to be read:", style="bold")
        say(f"  rireki trace --config {shown} directory.users {story.user_id}")
        query = f"SELECT role, granted_by FROM directory.role_grants WHERE user_id = '{story.user_id}'"  # noqa: S608
        say(f"  rireki sql --config {shown} --at '{moment.at}' \"{query}\"")
    say("The same stack, kept running, with the Dagster UI:  rireki up")
    say("Your own PostgreSQL:                                rireki init --source DSN --lake URL --tables 'schema.*'")


def _row(moment: Moment) -> list[Any]:
    access = moment.access
    return [
        moment.at.replace("T", " ")[:23],
        moment.what,
        access["status"],
        "、".join(f"{m['pharmacy']}（{m['organisation']}）" for m in access["memberships"]),
        ", ".join(r["role"] + ("" if r["pharmacy_id"] else " (everywhere)") for r in access["roles"]),
        Text("✓", "green") if moment.matches else Text("✗ differs from what was done", "red"),
    ]
