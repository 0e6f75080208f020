"""From the state of one schema version to the next. Pure: an old event means what it meant, said in today's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.shared.event import Upcaster


def _open(after: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 knew no closing: whatever it tells of was open."""
    return {**after, "closed_on": None}


def _unmerged(after: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 knew no mergers: whatever it tells of was on its own."""
    return {**after, "merged_into": None}


UPCASTERS: Mapping[tuple[str, int], Upcaster] = {
    ("organisation", 1): _open,
    ("pharmacy", 1): _open,
    ("tenant", 1): _unmerged,
}
