"""What capture has done since Dagster last looked, as events of the asset graph.

Capture never waits for Dagster, and a run for each cut would cost seconds: so somebody looks, now and then, and reports
what is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagster import AssetCheckEvaluation, AssetMaterialization, MetadataValue, TableColumn, TableSchema
from pydantic import TypeAdapter, ValidationError

from cdc.errors import RirekiError
from cdc.relation import TableName
from lakehouse.root import LakeRoot, table_path
from lakehouse.table_state import TableState, load
from pipelines.asset_keys import STREAM, asset_key
from pipelines.lag import lag_seconds
from pipelines.status import LakeStanding, Status
from pipelines.stream_checks import Outcome, outcomes


@dataclass(frozen=True, slots=True)
class Reported:
    """What Dagster has been told: the newest cut, each table's version in it, each check's outcome."""

    cut_lsn: int = -1
    versions: Mapping[str, int] = field(default_factory=dict, hash=False)
    passed: Mapping[str, bool] = field(default_factory=dict, hash=False)

    @classmethod
    def read(cls, text: str | None) -> Reported:
        """From ``text()``; nothing where there is nothing, or nothing that can be read."""
        try:
            return _REPORTED.validate_json(text or "{}")
        except ValidationError:
            return cls()

    def text(self) -> str:
        return _REPORTED.dump_json(self).decode()


@dataclass(frozen=True, slots=True)
class News:
    """``events`` are to be reported, then ``reported`` to be kept."""

    events: Sequence[AssetMaterialization | AssetCheckEvaluation]
    reported: Reported
    summary: str


def news(seen: Status | RirekiError, before: Reported) -> News:
    """What is new since ``before``: a cut, tables that it changed, checks that came out otherwise. Raises LakeError."""
    found = list(outcomes(seen))
    events: list[AssetMaterialization | AssetCheckEvaluation] = [
        one.evaluation() for one in found if before.passed.get(_text(one)) != one.passed
    ]
    passed = {_text(one): one.passed for one in found}
    if isinstance(seen, RirekiError):
        return News(events, replace(before, passed={**before.passed, **passed}), str(seen))
    if seen.lake is None:
        return News(events, replace(before, passed=passed), "nothing is queryable yet")
    last = seen.lake.last
    events += _arrived(seen, seen.lake, before)
    versions = {str(name): version for name, version in seen.lake.tables.items()}
    return News(events, Reported(last.cut.cut_lsn.value, versions, passed), f"queryable to {last.lsn}")


def _arrived(status: Status, lake: LakeStanding, before: Reported) -> Iterator[AssetMaterialization]:
    if lake.last.cut.cut_lsn.value == before.cut_lsn:
        return
    yield AssetMaterialization(STREAM, metadata=_stream_metadata(status, lake))
    for name, version in sorted(lake.tables.items()):
        if before.versions.get(str(name)) != version:
            metadata = _table_metadata(status.root, name, version, lake)
            yield AssetMaterialization(asset_key("current", name), metadata=metadata)


def _text(outcome: Outcome) -> str:
    return f"{outcome.asset.to_user_string()}:{outcome.check}"


def _stream_metadata(status: Status, lake: LakeStanding) -> dict[str, MetadataValue]:
    found: dict[str, MetadataValue] = {
        "lsn": MetadataValue.text(str(lake.last.lsn)),
        "source_time": MetadataValue.timestamp(lake.last.source_time),
        "complete": MetadataValue.bool(lake.last.complete),
    }
    lag = lag_seconds(status)
    if lag is not None:
        found["lag_seconds"] = MetadataValue.float(lag)
    if status.lag_bytes is not None:
        found["lag_bytes"] = MetadataValue.int(status.lag_bytes)
    if status.source is not None and status.source.slot is not None:
        found["slot_retained_bytes"] = MetadataValue.int(status.source.slot.retained_bytes)
    return found


def _table_metadata(root: LakeRoot, name: TableName, version: int, lake: LakeStanding) -> dict[str, MetadataValue]:
    """Row and file counts are the table's newest, which may be a cut ahead of ``version``."""
    path = table_path("current", name)
    state = load(root.store(), path, str(name))
    return {
        "version": MetadataValue.int(version),
        "lsn": MetadataValue.text(str(lake.last.lsn)),
        "files": MetadataValue.int(len(state.files)),
        "dagster/row_count": MetadataValue.int(rows(state)),
        "dagster/column_schema": MetadataValue.table_schema(_columns(state)),
        "dagster/uri": MetadataValue.text(root.uri("current", name)),
    }


def rows(state: TableState) -> int:
    """Live rows: those in the files, less those that deletion vectors hide."""
    return sum(
        file.row_count - (0 if file.deletion_vector is None else int(file.deletion_vector["cardinality"]))
        for file in state.files.values()
    )


def _columns(state: TableState) -> TableSchema:
    return TableSchema([TableColumn(column.name, str(column.type)) for column in state.schema])


_REPORTED = TypeAdapter(Reported)
