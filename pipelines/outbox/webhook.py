"""A POST per event. Signed where a secret is set, so that the receiver knows who sends, and when.

    Rireki-Event-Id: <event_id>            the same when it comes again
    Rireki-Timestamp: <seconds since 1970>
    Rireki-Signature: sha256=<HMAC-SHA-256 of "<timestamp>.<body>">

2xx is delivered. 408, 425, 429, 5xx and silence mean "away"; anything else refuses the message, redirects included.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence

import httpx

from pipelines.outbox.destination import DestinationAway
from pipelines.outbox.message import Message

_TIMEOUT_S = 10.0
_TRY_LATER = {408, 425, 429}


class Webhook:
    batch = 1

    def __init__(self, url: str, *, secret: bytes | None, clock: Callable[[], float] = time.time) -> None:
        self._url, self._secret, self._clock = url, secret, clock
        self._client = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)

    def send(self, messages: Sequence[Message]) -> list[str | None]:
        return [self._send(message) for message in messages]

    def _send(self, message: Message) -> str | None:
        body = message.text().encode()
        at = str(int(self._clock()))
        headers = {"Content-Type": "application/json", "Rireki-Event-Id": message.id, "Rireki-Timestamp": at}
        if self._secret is not None:
            headers["Rireki-Signature"] = "sha256=" + signature(self._secret, at, body)
        try:
            answer = self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise DestinationAway(f"{type(error).__name__}: {error}") from error
        if answer.is_success:
            return None
        if answer.is_server_error or answer.status_code in _TRY_LATER:
            raise DestinationAway(f"HTTP {answer.status_code}")
        return f"HTTP {answer.status_code}"


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hexadecimal; what a receiver computes and compares."""
    return hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
