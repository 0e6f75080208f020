"""One tenant's commands, in a sequence that depends on nothing but the seed.

Everything random comes from ``Random(seed, tenant)`` and runs in one thread, however threads take turns. Ids come from
the service, which makes them from our keys.
"""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

from services.workload.client import Actor, Answer, Client, Tally

OPERATORS = tuple(Actor(f"operator:{name}") for name in ("sato", "suzuki", "tanaka", "ito", "kobayashi"))
HR = Actor("system:hr-sync", "system")
SENT_TWICE = 0.04  # share of commands whose answer got lost, as far as the client knows


class Sender:
    def __init__(self, client: Client, tally: Tally, seed: int, number: int) -> None:
        self.client = client
        self.tally = tally
        self.random = Random(f"{seed}/{number}")
        self.seed = seed
        self.number = number
        self.tenant_id: str | None = None
        self.attempts = 0
        self.done = 0
        self.seen_at = ""  # source time (ISO, UTC) just after the last command
        self.told: list[str] = []  # every command carried out, for the digest

    def key(self) -> str:
        self.attempts += 1
        return f"seed{self.seed}-chain{self.number}-{self.attempts:06d}"

    def send(
        self,
        what: str,
        path: str,
        body: dict[str, Any],
        *,
        reason: str,
        actor: Actor | None = None,
        if_match: int | None = None,
    ) -> Answer:
        """One command, counted. Raises Refused, ServiceAway, Stopped."""
        key = self.key()
        actor = actor or self.random.choice(OPERATORS)
        correlation = str(UUID(int=self.random.getrandbits(128), version=4))
        again = self.random.random() < SENT_TWICE
        for _ in range(2 if again else 1):
            answer = self.client.command(
                path,
                {**body, "reason": reason},
                key=key,
                actor=actor,
                tenant=self.tenant_id,
                if_match=if_match,
                correlation_id=correlation,
            )
        self.count(what, path)
        self.seen_at = answer.source_time
        return answer

    def count(self, what: str, path: str) -> None:
        self.done += 1
        self.told.append(f"{what} {path}")
        with self.tally.lock:
            self.tally.commands[what] += 1

    def conflicted(self) -> None:
        with self.tally.lock:
            self.tally.conflicts += 1
