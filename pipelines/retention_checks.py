"""What a run of maintenance found, as outcomes of the check ``retention_kept``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from lakehouse.maintenance import Maintained
from pipelines.asset_keys import asset_key
from pipelines.stream_checks import Outcome

RETENTION = "retention_kept"


def retention_outcomes(done: Iterable[Maintained]) -> Iterator[Outcome]:
    """One for each table of ``current``."""
    for one in done:
        if one.name is None:
            continue
        asset, figures = asset_key("current", one.name), _figures(one)
        if one.refused is not None:
            yield Outcome(asset, RETENTION, False, f"{one.refused}. First: {one.refused.fix}", figures)
        else:
            yield Outcome(asset, RETENTION, True, _told(one), figures)


def _figures(one: Maintained) -> dict[str, float | int | str]:
    figures: dict[str, float | int | str] = {
        "single_versions": one.singles,
        "let_go": one.let_go,
        "removed_objects": len(one.removed.files) + len(one.removed.logged),
        "removed_bytes": one.removed.bytes,
    }
    if one.whole_from is not None:
        figures["every_version_since"] = _text(one.whole_from)
    if one.oldest is not None:
        figures["oldest_version"] = _text(one.oldest)
    return figures


def _told(one: Maintained) -> str:
    if one.whole_from is None:
        return "every version is kept"
    return f"every version since {_text(one.whole_from)}, and {one.singles} before"


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
