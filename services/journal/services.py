"""Which services keep a journal of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.asset import events as asset
from services.asset.upcasters import UPCASTERS as ASSET_UPCASTERS
from services.auth import events as auth
from services.auth.upcasters import UPCASTERS as AUTH_UPCASTERS
from services.directory import events as directory
from services.directory.upcasters import UPCASTERS as DIRECTORY_UPCASTERS
from services.shared.event import Aggregate, EventType, Upcaster


@dataclass(frozen=True, slots=True)
class Journal:
    """``aggregates``: each after those that it refers to. ``states``: the folder of JSON schemas."""

    schema: str
    aggregates: tuple[Aggregate, ...]
    types: tuple[EventType, ...]
    upcasters: Mapping[tuple[str, int], Upcaster]
    states: Path

    def version_of(self, aggregate: Aggregate) -> int:
        """The schema version that is written today."""
        return max(event.schema_version for event in self.types if event.aggregate == aggregate)


JOURNALS = (
    Journal("directory", directory.AGGREGATES, directory.ALL, DIRECTORY_UPCASTERS, directory.STATES),
    Journal("asset", asset.AGGREGATES, asset.ALL, ASSET_UPCASTERS, asset.STATES),
    Journal("auth", auth.AGGREGATES, auth.ALL, AUTH_UPCASTERS, auth.STATES),
)
