"""When somebody is told, and when not again. No clock, no network: what is measured comes in, notices come out.

    ok ──late──► pending ──late for long enough──► firing ──well──► resolving ──well for long enough──► ok
     ▲              │                               ▲ │ tells                     │            tells
     └───not late───┘                               └─┴────────not well───────────┘

*Late* is beyond the threshold, *well* is below 80 % of it: between the two nothing changes, so that a lag which swings
around the threshold is one alert and not fifty. Looks that couldn't tell change nothing either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from pydantic import TypeAdapter, ValidationError

WELL = 0.8  # of the threshold
REMIND_EVERY = timedelta(hours=1)
_LONGEST_KEY = 255  # PagerDuty's limit


class Phase(StrEnum):
    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVING = "resolving"


class Kind(StrEnum):
    FIRING = "firing"
    REMINDER = "still firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Rule:
    """``fires_after`` and ``resolves_after``: how many looks in a row, the one that changes the phase included."""

    name: str
    fires_after: int
    resolves_after: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look says about one rule. ``level`` is the value in thresholds, None if it can't be told now."""

    rule: Rule
    level: float | None
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class AlertState:
    """``looks``: how many in a row have spoken for the next phase. Times are UTC."""

    phase: Phase = Phase.OK
    looks: int = 0
    since: datetime | None = None  # when it was first late
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What is sent. ``key`` is the same for all notices of one alert, so that a receiver can merge and close them."""

    rule: str
    kind: Kind
    key: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """``target``: the position of its URL in the configuration; the URL itself may hold a secret."""

    target: int
    notice: Notice


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is remembered between two looks."""

    states: Mapping[str, AlertState] = field(default_factory=dict, hash=False)
    undelivered: tuple[Undelivered, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> Ledger:
        """From ``text()``; an empty one where there is nothing, or nothing that can be read."""
        try:
            return _LEDGER.validate_json(text or "{}")
        except ValidationError:
            return cls()

    def text(self) -> str:
        return _LEDGER.dump_json(self).decode()

    def judge(
        self, findings: Sequence[Finding], owner: str, targets: int, now: datetime
    ) -> tuple[Ledger, list[Notice]]:
        """One look. The notices are also undelivered, to each of so many targets. ``owner`` sets the keys apart."""
        states, notices = dict(self.states), []
        for finding in findings:
            before = states.get(finding.rule.name, AlertState())
            states[finding.rule.name], kind = step(before, finding.rule, finding.level, now)
            if kind is not None:
                notices.append(_notice(kind, finding, owner, before.since, now))
        undelivered = _merged([one for one in self.undelivered if one.target < targets], notices, targets)
        return Ledger(states, undelivered), notices

    def delivered(self, done: Sequence[Undelivered]) -> Ledger:
        return replace(self, undelivered=tuple(one for one in self.undelivered if one not in done))


def step(state: AlertState, rule: Rule, level: float | None, now: datetime) -> tuple[AlertState, Kind | None]:
    """The next state of one alert, and what is to be told."""
    if level is None:
        return state, None
    late, well = level > 1, level < WELL
    match state.phase:
        case Phase.OK | Phase.PENDING:
            if not late:
                return AlertState(), None
            since = state.since or now
            if state.looks + 1 < rule.fires_after:
                return AlertState(Phase.PENDING, state.looks + 1, since), None
            return AlertState(Phase.FIRING, 0, since, now), Kind.FIRING
        case Phase.FIRING | Phase.RESOLVING:
            looks = state.looks + 1 if well else 0
            if looks >= rule.resolves_after:
                return AlertState(), Kind.RESOLVED
            phase = Phase.RESOLVING if well else Phase.FIRING
            due = state.told_at is None or now - state.told_at >= REMIND_EVERY
            if phase is Phase.FIRING and due:
                return replace(state, phase=phase, looks=0, told_at=now), Kind.REMINDER
            return replace(state, phase=phase, looks=looks), None
        case _:
            assert_never(state.phase)


def _notice(kind: Kind, finding: Finding, owner: str, since: datetime | None, now: datetime) -> Notice:
    key = f"rireki/{owner}/{finding.rule.name}"
    if len(key) > _LONGEST_KEY:
        key = f"rireki/{hashlib.sha256(key.encode()).hexdigest()}"
    lasted = "" if since is None else f"Since {since:%Y-%m-%d %H:%M:%S} UTC, {_duration(now - since)}.\n"
    return Notice(finding.rule.name, kind, key, f"[{kind}] {finding.title}", lasted + finding.body)


def _merged(waiting: Sequence[Undelivered], notices: Sequence[Notice], targets: int) -> tuple[Undelivered, ...]:
    """What still has to be sent: a newer notice takes an older one's place, and an end that of an untold beginning."""
    found = {(one.target, one.notice.rule): one for one in waiting}
    for notice in notices:
        for target in range(targets):
            older = found.pop((target, notice.rule), None)
            untold = older is not None and older.notice.kind is Kind.FIRING
            if notice.kind is Kind.RESOLVED and untold:
                continue
            kind = Kind.FIRING if untold and notice.kind is Kind.REMINDER else notice.kind
            found[target, notice.rule] = Undelivered(target, replace(notice, kind=kind))
    return tuple(found.values())


def _duration(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return (
        f"{seconds // 3600} h {seconds // 60 % 60} min" if seconds >= 3600 else f"{seconds // 60} min {seconds % 60} s"
    )


_LEDGER = TypeAdapter(Ledger)
