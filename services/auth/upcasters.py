"""From an old state of an aggregate to the next version of it. There is none yet: every aggregate is at its first."""

from __future__ import annotations

from collections.abc import Mapping

from services.shared.event import Upcaster

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
