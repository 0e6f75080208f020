"""What capture has done since Dagster last looked, as events of the asset graph.

Capture never waits for Dagster, and a run for each cut would cost seconds: so somebody looks, now and then, and reports
what is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from dagster import AssetCheckEvaluation, AssetMaterialization, MetadataValue, TableColumn, TableSchema
from pydantic import TypeAdapter, ValidationError

from cdc.errors import RirekiError
from cdc.relation import TableName
from lakehouse.root import LakeRoot, table_path
from lakehouse.table_state import TableState, load
from pipelines.asset_keys import CUTS, STREAM, TRANSACTIONS, asset_key
from pipelines.lag import lag_seconds
from pipelines.status import LakeStanding, Status
from pipelines.stream_checks import Outcome, outcomes

_Event: TypeAlias = AssetMaterialization | AssetCheckEvaluation
_Metadata: TypeAlias = dict[str, MetadataValue]


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

    events: Sequence[_Event]
    reported: Reported
    summary: str


def news(seen: Status | RirekiError, before: Reported) -> News:
    """What is new since ``before``: a cut, tables that it changed, checks that came out otherwise. Raises LakeError."""
    found = list(outcomes(seen))
    events: list[_Event] = [one.evaluation() for one in found if before.passed.get(_text(one)) != one.passed]
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
    """A quiet source has new cuts, too: they are news of the stream only."""
    if lake.last.cut.cut_lsn.value == before.cut_lsn:
        return
    position = _position(lake)
    yield AssetMaterialization(STREAM, metadata=position | _lag(status))
    changed = [name for name, version in sorted(lake.tables.items()) if before.versions.get(str(name)) != version]
    for name in changed:
        yield AssetMaterialization(asset_key("pg", name), metadata=position)
        yield AssetMaterialization(asset_key("changelog", name), metadata=position | _place(status.root, name))
        yield AssetMaterialization(asset_key("current", name), metadata=position | _figures(status.root, name, lake))
    for shared in (TRANSACTIONS, CUTS) if changed else ():
        yield AssetMaterialization(shared, metadata=position)


def _text(outcome: Outcome) -> str:
    return f"{outcome.asset.to_user_string()}:{outcome.check}"


def _position(lake: LakeStanding) -> _Metadata:
    return {
        "lsn": MetadataValue.text(str(lake.last.lsn)),
        "source_time": MetadataValue.timestamp(lake.last.source_time),
    }


def _lag(status: Status) -> _Metadata:
    found: _Metadata = {}
    lag = lag_seconds(status)
    if lag is not None:
        found["lag_seconds"] = MetadataValue.float(lag)
    if status.lag_bytes is not None:
        found["lag_bytes"] = MetadataValue.int(status.lag_bytes)
    if status.source is not None and status.source.slot is not None:
        found["slot_retained_bytes"] = MetadataValue.int(status.source.slot.retained_bytes)
    return found


def _place(root: LakeRoot, name: TableName) -> _Metadata:
    return {"dagster/uri": MetadataValue.text(root.uri("changelog", name))}


def _figures(root: LakeRoot, name: TableName, lake: LakeStanding) -> _Metadata:
    """Rows, files and columns are the table's newest, which may be a cut ahead of ``version``."""
    state = load(root.store(), table_path("current", name), str(name))
    return {
        "version": MetadataValue.int(lake.tables[name]),
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
