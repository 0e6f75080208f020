"""What can be sent to, and the two ways in which it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipelines.outbox.message import Message


class DestinationAway(Exception):
    """Nobody there, or overloaded: no message's fault. All wait and are sent later."""


class Destination(Protocol):
    batch: int  # most messages of one ``send``

    def send(self, messages: Sequence[Message]) -> list[str | None]:
        """For each in turn: None when it is delivered, else why it was refused. No two are of one aggregate.

        Raises DestinationAway; then some may have been delivered.
        """
