"""Commands over HTTP. A command that got no answer is sent again under the same key: it happens once, or not at all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx


class ServiceAway(Exception):
    """No answer for longer than we are patient."""


class Stopped(Exception):
    """Whoever runs the workload asked it to end."""


class Refused(Exception):
    """The service answered and said no."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail')} ({problem.get('fix')})")
        self.status = status
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Actor:
    id: str
    type: str = "operator"


@dataclass(frozen=True, slots=True)
class Answer:
    state: dict[str, Any]
    events: list[dict[str, Any]]
    source_time: str  # ISO, UTC: from then on the database shows the command
    replayed: bool

    @property
    def id(self) -> str:
        return str(self.state.get("id") or self.state["tenant_id"])

    @property
    def version(self) -> int:
        return int(self.state["version"])


@dataclass(slots=True)
class Tally:
    """Shared by all threads."""

    commands: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    conflicts: int = 0
    reconnects: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pace:
    """At most so many commands a second, over all threads; zero: as fast as they come."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second if per_second > 0 else 0.0
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event) -> None:
        if not self._interval:
            return
        with self._lock:
            self._next = max(self._next, time.monotonic()) + self._interval
            turn = self._next - self._interval
        stop.wait(max(0.0, turn - time.monotonic()))


class Client:
    """One per thread. ``patience_seconds``: how long a service may be away before we give up."""

    def __init__(
        self,
        url: str,
        token: str,
        tally: Tally,
        pace: Pace,
        stop: threading.Event,
        *,
        patience_seconds: float = 60.0,
    ) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=15.0)
        self._tally = tally
        self._pace = pace
        self._stop = stop
        self._patience_seconds = patience_seconds

    def close(self) -> None:
        self._http.close()

    def command(
        self,
        path: str,
        body: dict[str, Any],
        *,
        key: str,
        actor: Actor,
        tenant: str | None = None,
        if_match: int | None = None,
        correlation_id: str | None = None,
    ) -> Answer:
        """Raises Refused, ServiceAway, Stopped."""
        headers = {
            "X-Actor": actor.id,
            "X-Actor-Type": actor.type,
            "Idempotency-Key": key,
            "X-Request-Id": f"req-{key}",
        }
        if tenant is not None:
            headers["X-Tenant"] = tenant
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        if correlation_id is not None:
            headers["X-Correlation-Id"] = correlation_id
        self._pace.wait(self._stop)
        response = self._patiently(lambda: self._http.post(path, json=body, headers=headers))
        replayed = "Idempotent-Replayed" in response.headers
        content = response.json()
        with self._tally.lock:
            self._tally.replayed += replayed
        return Answer(content["state"], content["events"], response.headers["X-Source-Time"], replayed)

    def read(self, path: str, tenant: str) -> dict[str, Any]:
        """Raises Refused, ServiceAway, Stopped."""
        content: dict[str, Any] = self._patiently(lambda: self._http.get(path, headers={"X-Tenant": tenant})).json()
        return content

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        deadline = time.monotonic() + self._patience_seconds
        pause_seconds = 0.05
        while True:
            if self._stop.is_set():
                raise Stopped
            try:
                response = send()
                if response.status_code != 503:
                    break
                away: str = response.text
            except httpx.TransportError as error:
                away = f"{type(error).__name__}: {error}"
            if time.monotonic() > deadline:
                raise ServiceAway(away)
            with self._tally.lock:
                self._tally.reconnects += 1
            self._stop.wait(pause_seconds)
            pause_seconds = min(1.0, pause_seconds * 2)
        if response.is_error:
            problem = response.json() if "json" in response.headers.get("content-type", "") else {}
            raise Refused(response.status_code, problem)
        return response
