"""Who acts, for which tenant, and why: travels with a command into its events and its transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

ActorType = Literal["user", "operator", "system"]


@dataclass(frozen=True, slots=True)
class Context:
    tenant_id: UUID
    actor_type: ActorType
    actor_id: str
    request_id: str
    correlation_id: UUID  # common to everything that one intention caused
    causation_id: UUID | None = None
    on_behalf_of: str | None = None
    reason: str | None = None
    effective_at: datetime | None = None  # aware; None: from when it is recorded

    def as_message(self) -> str:
        """The JSON that goes into the change stream under the prefix ``rireki.context``."""
        return json.dumps(
            {
                "actor": self.actor_id,
                "actor_type": self.actor_type,
                "request_id": self.request_id,
                "reason": self.reason,
                "correlation_id": str(self.correlation_id),
            },
            ensure_ascii=False,
        )
