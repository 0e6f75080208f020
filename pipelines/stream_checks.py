"""What can be said of the stream and its tables at a glance: the outcomes of the cheap asset checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetCheckResult, AssetCheckSeverity, AssetKey

from cdc.errors import RirekiError
from cdc.relation import TableName
from lakehouse.cuts import Gap
from pipelines.asset_keys import STREAM, asset_key
from pipelines.lag import lag_seconds, promised_seconds, slot_trouble, station
from pipelines.status import LakeStanding, Status

LAG = "lag_within_slo"
SLOT = "slot_healthy"
GAP = "no_gap"
ROWS = "rows_match_source"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check's outcome. ``told`` says why, for a person; a check that can't be made hasn't passed."""

    asset: AssetKey
    check: str
    passed: bool
    told: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> AssetCheckKey:
        return AssetCheckKey(self.asset, self.check)

    def result(self) -> AssetCheckResult:
        """As a check returns it."""
        return AssetCheckResult(
            passed=self.passed,
            asset_key=self.asset,
            check_name=self.check,
            metadata=dict(self.figures),
            severity=AssetCheckSeverity.ERROR,
            description=self.told,
        )

    def evaluation(self) -> AssetCheckEvaluation:
        """As it is reported from outside of a check."""
        return AssetCheckEvaluation(
            asset_key=self.asset,
            check_name=self.check,
            passed=self.passed,
            metadata=dict(self.figures),
            severity=AssetCheckSeverity.ERROR,
            description=self.told,
        )


def outcomes(seen: Status | RirekiError) -> Iterator[Outcome]:
    """``lag_within_slo`` and ``slot_healthy`` of the stream, ``no_gap`` of each current table that the lake holds."""
    if isinstance(seen, RirekiError):
        yield Outcome(STREAM, LAG, False, f"{seen}. First: {seen.fix}")
        return
    yield _lag(seen)
    yield _slot(seen)
    if seen.lake is not None:
        for name in sorted(seen.lake.tables):
            yield _gap(name, seen.lake)


def _lag(status: Status) -> Outcome:
    lag, promised = lag_seconds(status), promised_seconds(status.config)
    if lag is None:
        return Outcome(STREAM, LAG, False, f"Nothing is queryable yet. {station(status)}")
    figures: dict[str, float | int | str] = {"lag_seconds": lag, "promised_seconds": promised}
    if status.lag_bytes is not None:
        figures["lag_bytes"] = status.lag_bytes
    late = lag > promised
    told = f"{lag:g} s behind, promised are {promised:g} s"
    return Outcome(STREAM, LAG, not late, f"{told}; it waits at {station(status)}" if late else told, figures)


def _slot(status: Status) -> Outcome:
    if status.source is None:
        return Outcome(STREAM, SLOT, False, f"The source can't be asked: {status.problem}")
    slot, trouble = status.source.slot, slot_trouble(status)
    if slot is None:
        return Outcome(STREAM, SLOT, False, str(trouble))
    figures: dict[str, float | int | str] = {
        "wal_status": slot.wal_status,
        "retained_bytes": slot.retained_bytes,
        "confirmed_lsn": str(slot.confirmed_flush),
    }
    if slot.safe_wal_bytes is not None:
        figures["safe_wal_bytes"] = slot.safe_wal_bytes
    return Outcome(STREAM, SLOT, trouble is None, trouble or f"slot {slot.name} is followed and reserved", figures)


def _gap(name: TableName, lake: LakeStanding) -> Outcome:
    gaps = [gap for gap in lake.gaps if gap.table in (None, name)]
    open_now = [gap for gap in lake.last.gaps if gap.table in (None, name)]
    asset = asset_key("current", name)
    if open_now:
        return Outcome(asset, GAP, False, f"touches what readers see now: {_list(open_now)}", {"gaps": len(gaps)})
    told = f"complete to {lake.last.lsn}" + (f"; on record for the past: {_list(gaps)}" if gaps else "")
    return Outcome(asset, GAP, True, told, {"gaps": len(gaps)})


def _list(gaps: list[Gap]) -> str:
    return "; ".join(f"{gap.from_lsn} to {gap.to_lsn or 'now'}: {gap.reason}" for gap in gaps)
