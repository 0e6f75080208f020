"""``rireki demo``: the whole story on an empty machine, in under two minutes; then everything stops."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.status import Status
from rich.text import Text

from infra.state import StateFolder
from pipelines.cli.console import COMMON, DONE, FAILED, Common, emit, err, note, out, say, table
from pipelines.demo import Moment, Progress, Story, live_through
from pipelines.stack import Stack


def demo(
    *,
    s3: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    state: Path = Path(".rireki") / "demo",
    common: Common = COMMON,
) -> int:
    """PostgreSQL, services, a workload, capture, answers as of the past, reconciliation; then all of it stops.

    Exit code 0 only if not a single value differs. With --json, the last line holds the figures.

    Parameters
    ----------
    s3
        Keep the lake in an S3 stand-in instead of files; nothing of it is left afterwards.
    state
        The folder that is wiped at the start, and used.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop in order, as for Ctrl-C
    began = time.monotonic()
    place = StateFolder(state)
    place.destroy()
    progress = Progress()
    with Status(Text("starting …"), console=err) as line:

        def show() -> None:
            rows = progress.rows_durable + progress.rows_copied
            line.update(Text(f"{rows} rows captured, {progress.cuts} cuts"))

        def station(sentence: str) -> None:
            line.update(Text("…"))
            note(sentence)

        with place as folder, Stack(folder, s3=s3, ui=False, tell=station, on_event=progress.see) as stack:
            story = live_through(stack, progress, tell=station, show=show)
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
    say(f"What could {story.user} do, then and now, and who changed it? (source time, UTC)", style="bold")
    for moment in story.moments:
        _tell_moment(moment)
    say("")
    say("The same user's row, change by change:", style="bold")
    for change in story.trace:
        what = f"{change.op} {', '.join(change.changed)}".strip()
        say(f"  {change.committed_at[11:23]}  {what}  by {change.who.actor}: {change.who.reason}")
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


def _tell_moment(moment: Moment) -> None:
    mark = Text("✓", "green") if moment.matches else Text("✗ not what was done:", "red")
    by = f"  by {moment.actor}: {moment.reason}"
    out.print(Text.assemble(mark, f" {moment.at[11:23]}  ", (moment.what, "bold"), by))
    pharmacies = [f"{m['pharmacy']}（{m['organisation']}）" for m in moment.access["memberships"]]
    roles = [role["role"] + ("" if role["pharmacy_id"] else " everywhere") for role in moment.access["roles"]]
    told = [moment.access["status"], *pharmacies, f"may act as {', '.join(roles)}" if roles else "no role"]
    out.print(Text(f"{'':16}{' · '.join(told)}", "dim"))
