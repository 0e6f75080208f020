"""One event as it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_AS_OBJECT = ("after", "changed")  # jsonb at the source, text in the lake


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where the feed stands: a commit LSN, and the place inside that commit."""

    lsn: int
    place: int

    def to_json(self) -> list[int]:
        return [self.lsn, self.place]


@dataclass(frozen=True, slots=True)
class Message:
    """``id`` is the event's, so whoever gets one twice can tell. ``body`` is the event's row."""

    id: str
    aggregate: str  # type and id: messages of one keep their order
    event_type: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Message:
        body = {name: value for name, value in row.items() if not name.startswith("_")}
        for name in _AS_OBJECT:
            if isinstance(body.get(name), str):
                body[name] = json.loads(body[name])
        aggregate = f"{body['aggregate_type']}/{body['aggregate_id']}"
        return cls(str(body["event_id"]), aggregate, str(body["event_type"]), body)

    def text(self) -> str:
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":"))
