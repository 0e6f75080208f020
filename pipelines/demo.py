"""The story that ``rireki demo`` tells, and the figures that prove it.

stack up ─► workload over HTTP, captured while it runs ─► the lake has reached the source's last commit
─► what could this user do at each moment, as the lake answers and as the workload knows
─► every table by value against its source ─► commit to queryable, in seconds
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdc.lsn import Lsn
from cdc.relation import TableName
from cdc.slot import beat
from infra.errors import ProgramFailed
from lakehouse.as_of import AsOf
from lakehouse.json_values import JsonValue, json_rows
from lakehouse.lake import Lake
from lakehouse.life import Change
from pipelines.errors import DemoFailed
from pipelines.reconcile import reconcile
from pipelines.stack import Stack

SEED = 1
CHANGES = 2_000
FIRST_CUT_WITHIN_S = 120.0  # a first start compiles the decoder
LAST_CUT_WITHIN_S = 60.0

# What a user may do: status, where they belong, which roles they hold. Asked as of any moment, joined at one commit.
ACCESS = """
SELECT u.status,
       (SELECT list({pharmacy_id: p.id, pharmacy: p.name, organisation_id: o.id, organisation: o.name,
                     is_primary: m.is_primary} ORDER BY p.id)
        FROM directory.memberships m
        JOIN directory.pharmacies p ON p.id = m.pharmacy_id
        JOIN directory.organisations o ON o.id = p.organisation_id
        WHERE m.user_id = u.id AND m.valid_to IS NULL) AS memberships,
       (SELECT list({role: g.role, pharmacy_id: g.pharmacy_id} ORDER BY g.role, g.pharmacy_id)
        FROM directory.role_grants g
        WHERE g.user_id = u.id AND g.revoked_at IS NULL) AS roles
FROM directory.users u WHERE u.id = '{user_id}'
"""

# Who touched the user, what they belong to or what they hold, and why: by the transactions' own word.
WHO = """
SELECT t.commit_lsn, t.actor, t.reason
FROM (SELECT _commit_lsn FROM changelog."directory.users" WHERE id = '{user_id}'
      UNION SELECT _commit_lsn FROM changelog."directory.memberships" WHERE user_id = '{user_id}'
      UNION SELECT _commit_lsn FROM changelog."directory.role_grants" WHERE user_id = '{user_id}'
      UNION SELECT _commit_lsn FROM changelog."directory.pharmacies" WHERE id IN
            (SELECT pharmacy_id FROM changelog."directory.memberships" WHERE user_id = '{user_id}')) touched
JOIN rireki.transactions t ON t.commit_lsn = touched._commit_lsn
ORDER BY t.commit_lsn
"""

DELAYS = """
SELECT quantile_cont(seconds, 0.5) AS p50, quantile_cont(seconds, 0.99) AS p99
FROM (SELECT epoch_us(c.written_at) / 1e6 - epoch_us(t.committed_at) / 1e6 AS seconds
      FROM rireki.transactions t ASOF JOIN rireki.cuts c ON t.commit_lsn <= c.cut_lsn)
"""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of the protagonist's life: what the workload did, and what the lake says of it."""

    at: str  # ISO, UTC, the source's clock
    what: str  # in the workload's words; all that follows is the lake's
    access: dict[str, Any]
    actor: str | None
    reason: str | None
    as_of: AsOf
    matches: bool  # access, actor and reason are those of the workload's own record


@dataclass(slots=True)
class Progress:
    """How far the run is, for whoever shows it."""

    rows_durable: int = 0
    rows_copied: int = 0
    cuts: int = 0

    def see(self, event: Mapping[str, Any]) -> None:
        match event.get("event"):
            case "durable":
                self.rows_durable += event["rows"]
            case "copied":
                self.rows_copied += event["rows"]
            case "cut":
                self.cuts += 1


@dataclass(frozen=True, slots=True)
class Story:
    """All that the demo found out. ``mismatches`` counts rows that differ and moments that were answered wrongly."""

    user: str
    user_id: str
    moments: tuple[Moment, ...]
    trace: tuple[Change, ...]  # of the user's row
    rows_captured: int
    rows_in_lake: int
    tables: dict[str, dict[str, Any]]
    reconciled_at: str
    delays: dict[str, float]
    workload: dict[str, Any] = field(repr=False)

    @property
    def mismatches(self) -> int:
        differing = sum(int(table["mismatches"]) for table in self.tables.values())
        return differing + sum(not moment.matches for moment in self.moments)

    def figures(self, seconds: float) -> dict[str, Any]:
        return {
            "rows_captured": self.rows_captured,
            "rows_in_lake": self.rows_in_lake,
            "mismatches": self.mismatches,
            "commit_to_queryable_seconds": self.delays,
            "as_of": [
                {
                    "at": moment.at,
                    "lsn": moment.as_of.lsn,
                    "complete": moment.as_of.complete,
                    "what": moment.what,
                    "actor": moment.actor,
                    "reason": moment.reason,
                    "access": moment.access,
                    "matches": moment.matches,
                }
                for moment in self.moments
            ],
            "tables": self.tables,
            "reconciled_at": self.reconciled_at,
            "seconds": round(seconds, 1),
        }


def live_through(
    stack: Stack,
    progress: Progress,
    *,
    tell: Callable[[str], None],
    show: Callable[[], None],
    changes: int = CHANGES,
) -> Story:
    """Run the workload against a running stack and ask the lake about it.

    ``tell`` gets a sentence for each station; ``show`` is called, often, while the workload runs.

    Raises DemoFailed when the lake doesn't follow in time, ProgramFailed when the workload doesn't run.
    """
    _wait_for_cut(stack, Lsn(0), FIRST_CUT_WITHIN_S)
    tell(f"a working day of four chains of pharmacies: {changes} commands over HTTP, captured meanwhile")
    told, oracle = _run_workload(stack, changes, show)
    # Behind everything that the workload committed; the stream passes it and nothing lies between.
    _wait_for_cut(stack, beat(stack.config.conninfo()), LAST_CUT_WITHIN_S)
    lake = Lake.open(stack.config.lake_root())
    user_id = str(oracle["user_id"])
    tell("comparing every table with its source, value by value")
    compared = reconcile(stack.config, ()).as_object()
    tell(f"asking about one user at {len(oracle['moments'])} moments")
    who = [(Lsn(int(str(lsn))), actor, reason) for lsn, actor, reason in _rows(lake, WHO, user_id)]
    ((p50, p99),) = _rows(lake, DELAYS)
    return Story(
        user=str(oracle["name"]),
        user_id=user_id,
        moments=tuple(_ask(lake, user_id, moment, who) for moment in oracle["moments"]),
        trace=tuple(lake.trace(TableName("directory", "users"), user_id)),
        rows_captured=progress.rows_durable + progress.rows_copied,
        rows_in_lake=_changelog_rows(lake),
        tables=compared["tables"],
        reconciled_at=str(compared["at_lsn"]),
        delays={"p50": round(float(str(p50)), 3), "p99": round(float(str(p99)), 3)},
        workload=told,
    )


def _wait_for_cut(stack: Stack, lsn: Lsn, within_s: float) -> None:
    if not stack.events.wait_for_cut(lsn, within_s):
        log = stack.folder.log("capture")
        raise DemoFailed(f"the lake didn't reach {lsn} within {within_s:.0f} s", subject=str(log))


def _run_workload(stack: Stack, changes: int, show: Callable[[], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The workload's figures, and its own record of what each moment must show."""
    oracle_file = stack.folder.path / "oracle.json"
    command = [sys.executable, "-m", "services.workload", "--json", "--url", stack.directory_url]
    command += ["--seed", str(SEED), "--changes", str(changes), "--oracle", str(oracle_file)]
    environment = os.environ | {"DIRECTORY_TOKEN": stack.folder.secret("directory-token")}
    log = stack.folder.log("workload")
    with log.open("wb") as err, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=err) as run:
        try:
            while True:
                try:
                    out, _ = run.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    show()
        except BaseException:
            run.terminate()
            raise
    if run.returncode:
        raise ProgramFailed(
            f"ended with exit code {run.returncode}; its words are in {log}", subject="services.workload"
        )
    return json.loads(out.splitlines()[-1]), json.loads(oracle_file.read_text(encoding="utf-8"))


def _rows(lake: Lake, query: str, user_id: str = "") -> list[list[JsonValue]]:
    return json_rows(lake.sql(query.replace("{user_id}", user_id)).arrow)


def _ask(lake: Lake, user_id: str, moment: Mapping[str, Any], who: Sequence[tuple[Lsn, Any, Any]]) -> Moment:
    answer = lake.sql(ACCESS.replace("{user_id}", user_id), at=moment["at"])
    found = json_rows(answer.arrow)
    status, memberships, roles = found[0] if found else ("unknown", [], [])
    access = {"status": status, "memberships": memberships or [], "roles": roles or []}
    by = [(actor, reason) for lsn, actor, reason in who if lsn <= answer.as_of.lsn]
    actor, reason = by[-1] if by else (None, None)
    matches = (
        answer.as_of.complete
        and _in_order(access) == _in_order(moment["access"])
        and (actor, reason) == (moment["actor"], moment["reason"])
    )
    return Moment(moment["at"], moment["what"], access, actor, reason, answer.as_of, matches)


def _in_order(access: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: sorted(value, key=lambda row: json.dumps(row, sort_keys=True)) if isinstance(value, list) else value
        for name, value in access.items()
    }


def _changelog_rows(lake: Lake) -> int:
    counts = " UNION ALL ".join(
        f"SELECT count(*) AS n FROM changelog.\"{name}\" WHERE _op <> 'truncate'"  # noqa: S608 - names come from the lake
        for name in lake.tables()
    )
    ((total,),) = _rows(lake, f"SELECT sum(n)::BIGINT FROM ({counts})")  # noqa: S608
    return int(str(total))
