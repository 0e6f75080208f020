"""``rireki doctor``: check source and lake, and say the fix."""

from __future__ import annotations

from rich.text import Text

from pipelines.cli.console import ATTENTION, COMMON, DONE, FAILED, Common, emit, out, say
from pipelines.doctor import Check, State, examine

_MARKS = {
    State.OK: Text("✓", "green"),
    State.WARNING: Text("!", "yellow"),
    State.FAILED: Text("✗", "red"),
    State.SKIPPED: Text("·", "dim"),
}


def doctor(*, common: Common = COMMON) -> int:
    """Check configuration, source and lake; say the fix for whatever isn't right.

    Exit code 0: ready. 1: it runs, but look. 2: it can't run.
    """
    checks = examine(common.config)
    code = verdict(checks)
    if common.json:
        listed = [{"name": c.name, "state": c.state, "what": c.what, "fix": c.fix} for c in checks]
        emit({"verdict": ("ready", "attention", "failed")[code], "checks": listed})
    else:
        show(checks)
        words = {DONE: "ready: rireki capture", ATTENTION: "it runs, but look at !", FAILED: "it can't run yet: see ✗"}
        say(words[code])
    return code


def verdict(checks: list[Check]) -> int:
    states = {check.state for check in checks}
    return FAILED if State.FAILED in states else ATTENTION if State.WARNING in states else DONE


def show(checks: list[Check]) -> None:
    for check in checks:
        first, *more = check.what.splitlines() or [""]
        out.print(Text.assemble(_MARKS[check.state], " ", (f"{check.name:<16} ", "bold"), first))
        for line in more:
            out.print(Text(f"  {'':<16} {line}"))
        if check.fix:
            out.print(Text.assemble(f"  {'':<16} ", ("next: ", "bold"), check.fix))
