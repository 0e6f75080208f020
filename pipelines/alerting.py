"""One look of the alerts: measure, judge, tell, and only then remember that it was told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cdc.errors import RirekiError
from pipelines.alerts import Ledger, Notice, Undelivered
from pipelines.config import Config
from pipelines.lag import findings
from pipelines.notify import deliver, shown
from pipelines.status import Status


@dataclass(frozen=True, slots=True)
class Told:
    """``ledger`` is to be kept. ``late`` couldn't be delivered; the next look tries again."""

    ledger: Ledger
    notices: tuple[Notice, ...]
    late: tuple[Undelivered, ...]

    def summary(self, config: Config) -> str:
        """One line for whoever reads the sensor's ticks."""
        phases = ", ".join(f"{rule} {state.phase}" for rule, state in self.ledger.states.items())
        parts = [phases, *(notice.title for notice in self.notices)]
        if self.notices and not config.alerts.urls:
            parts.append("told to nobody: alerts.urls is empty")
        for one in self.late:
            url = config.alerts.urls[one.target].get_secret_value()
            parts.append(f"not delivered to {shown(url)}, tried again: {one.notice.title}")
        return "; ".join(part for part in parts if part)


def look_and_tell(config: Config, seen: Status | RirekiError, before: Ledger, now: datetime) -> Told:
    """``now`` is UTC. Whoever dies between telling and remembering tells once more, with the same key."""
    owner = f"{config.lake.url}/{config.stream.name}"
    ledger, notices = before.judge(findings(config, seen), owner, len(config.alerts.urls), now)
    ledger = ledger.delivered(deliver(config.alerts, ledger.undelivered))
    return Told(ledger, tuple(notices), ledger.undelivered)
