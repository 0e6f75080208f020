"""A comparison of source and lake, as outcomes of the check ``rows_match_source``."""

from __future__ import annotations

from cdc.lsn import Lsn
from cdc.relation import TableName
from pipelines.asset_keys import asset_key
from pipelines.errors import RowsDiffer
from pipelines.reconcile import Difference, Reconciliation
from pipelines.stream_checks import ROWS, Outcome


def row_outcome(name: TableName, difference: Difference, at_lsn: Lsn) -> Outcome:
    figures: dict[str, float | int | str] = {
        "source_rows": difference.source_rows,
        "lake_rows": difference.lake_rows,
        "mismatches": difference.mismatches,
        "at_lsn": str(at_lsn),
    }
    told = f"{difference.mismatches} rows differ at {at_lsn}"
    return Outcome(asset_key("current", name), ROWS, difference.mismatches == 0, told, figures)


def mismatch(found: Reconciliation) -> RowsDiffer:
    """The error for a comparison that found something."""
    wrong = [str(name) for name, difference in found.tables.items() if difference.mismatches]
    return RowsDiffer(f"{found.mismatches} rows differ at {found.at_lsn}", subject=" ".join(wrong))
