"""From the state of one schema version to the next. Pure: an old event means what it meant, said in today's words."""

from __future__ import annotations

from collections.abc import Mapping

from services.shared.event import Upcaster

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}  # every schema is at its first version
