"""What a Delta table's log adds up to: version, schema, properties, markers and live files.

Loaded once when a table is opened: the newest checkpoint, then the commits after it. From then on each commit of ours
is applied to it in memory, so that the cost of a commit doesn't grow with the number of commits.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema

from lakehouse.deletion_vector import Descriptor, unique_id
from lakehouse.errors import CorruptCommit, LakeFromNewerVersion
from lakehouse.store import Store

FORMAT = 2  # property rireki.format; raised when an older Rireki could misread what a newer one writes
KNOWN_FEATURES = frozenset({"deletionVectors", "timestampNtz"})

Action = dict[str, Any]
_COMMIT = re.compile(r"\A(\d{20})\.json\Z")


@dataclass(frozen=True, slots=True)
class LiveFile:
    """One data file that is in the table, as its ``add`` action says."""

    path: str  # relative to the table
    size_bytes: int
    partition: Mapping[str, str | None]
    modified_ms: int
    stats: str  # the protocol's per-file statistics, JSON
    deletion_vector: Descriptor | None = None

    @property
    def row_count(self) -> int:
        """Rows in the file, also those that the deletion vector hides."""
        return int(json.loads(self.stats)["numRecords"])

    def add(self) -> Action:
        action: Action = {
            "path": self.path,
            "partitionValues": dict(self.partition),
            "size": self.size_bytes,
            "modificationTime": self.modified_ms,
            "dataChange": True,
            "stats": self.stats,
        }
        return {"add": action | self._vector()}

    def remove(self) -> Action:
        # Without deletionTimestamp, which means long ago: no checkpoint then carries every file that ever was. What may
        # be removed from the store is judged by kept versions (lakehouse.sweep), never by the age of this action.
        action: Action = {
            "path": self.path,
            "dataChange": True,
            "extendedFileMetadata": True,
            "partitionValues": dict(self.partition),
            "size": self.size_bytes,
        }
        return {"remove": action | self._vector()}

    def with_vector(self, vector: Descriptor) -> LiveFile:
        # The bounds were taken over all rows; with some hidden they still hold, but no longer tightly.
        stats = json.loads(self.stats) | {"tightBounds": False}
        return replace(self, deletion_vector=vector, stats=json.dumps(stats, separators=(",", ":")))

    def _vector(self) -> Action:
        return {} if self.deletion_vector is None else {"deletionVector": dict(self.deletion_vector)}


@dataclass(slots=True)
class TableState:
    """``version`` is -1 while the table doesn't exist."""

    version: int = -1
    protocol: Action = field(default_factory=dict)
    metadata: Action = field(default_factory=dict)
    markers: dict[str, int] = field(default_factory=dict)  # txn actions: application id -> version
    files: dict[str, LiveFile] = field(default_factory=dict)  # by path

    @property
    def exists(self) -> bool:
        return self.version >= 0

    @property
    def properties(self) -> Mapping[str, str]:
        return dict(self.metadata.get("configuration") or {})

    @property
    def has_vectors(self) -> bool:
        """Whether a reader has to know deletion vectors."""
        return "deletionVectors" in (self.protocol.get("readerFeatures") or ())

    @property
    def schema(self) -> pa.Schema:
        return arrow_schema(str(self.metadata["schemaString"]))

    def apply(self, version: int, actions: Iterable[Action], subject: str) -> None:
        """Bring the state to ``version``. Raises LakeFromNewerVersion before anything is changed."""
        actions = list(actions)
        for action in actions:
            if "protocol" in action:
                _check_protocol(action["protocol"], subject)
            if "metaData" in action:
                _check_format(action["metaData"], subject)
        # Actions of one commit have no order: a path that is removed and added again stays.
        for action in actions:
            if removed := action.get("remove"):
                live = self.files.get(removed["path"])
                if live and unique_id(live.deletion_vector) == unique_id(removed.get("deletionVector")):
                    del self.files[removed["path"]]
        for action in actions:
            if added := action.get("add"):
                self.files[added["path"]] = _live_file(added)
            elif marker := action.get("txn"):
                self.markers[marker["appId"]] = int(marker["version"])
            elif protocol := action.get("protocol"):
                self.protocol = protocol
            elif metadata := action.get("metaData"):
                self.metadata = metadata
        self.version = version


def load(store: Store, table: str, subject: str) -> TableState:
    """The newest state of the table at ``table``; a state that doesn't exist if there is none.

    Raises CorruptCommit for a commit that is missing or can't be read, LakeFromNewerVersion for one that we mustn't.
    """
    state = TableState()
    pointer = store.get(f"{table}/_delta_log/_last_checkpoint")
    if pointer is not None:
        load_checkpoint(state, store, table, int(json.loads(pointer)["version"]), subject)
    after = f"{state.version:020}.json" if state.exists else ""
    for name in store.names(f"{table}/_delta_log", after=after):
        if match := _COMMIT.match(name):
            if int(match[1]) != state.version + 1:
                raise CorruptCommit(f"commit {state.version + 1} is missing before {int(match[1])}", subject=subject)
            body = store.get(f"{table}/_delta_log/{name}")
            state.apply(int(match[1]), parse_commit(body or b"", name, subject), subject)
    return state


def advance(state: TableState, store: Store, table: str, subject: str) -> bool:
    """Apply the commits that came after ``state``; False if there are none. Raises what ``load`` raises."""
    before = state.version
    while (body := store.get(f"{table}/_delta_log/{state.version + 1:020}.json")) is not None:
        version = state.version + 1
        state.apply(version, parse_commit(body, f"{version:020}.json", subject), subject)
    return state.version > before


def parse_commit(body: bytes, name: str, subject: str) -> list[Action]:
    try:
        actions = [json.loads(line) for line in body.splitlines() if line.strip()]
    except ValueError as error:
        raise CorruptCommit(f"commit {name} can't be read: {error}", subject=subject) from error
    if not actions:
        raise CorruptCommit(f"commit {name} is empty", subject=subject)
    return actions


def schema_json(schema: pa.Schema) -> str:
    """Delta's schema string, every column nullable."""
    return str(Schema.from_arrow(schema).to_json())


def arrow_schema(text: str) -> pa.Schema:
    return pa.schema(Schema.from_json(text).to_arrow())


def load_checkpoint(state: TableState, store: Store, table: str, version: int, subject: str) -> None:
    """Bring an empty state to the checkpoint of ``version``."""
    name = f"{version:020}.checkpoint.parquet"
    body = store.get(f"{table}/_delta_log/{name}")
    if body is None:
        raise CorruptCommit(f"checkpoint {name} is named as the newest, but isn't there", subject=subject)
    kinds = ("protocol", "metaData", "txn", "add")
    rows = pq.read_table(io.BytesIO(body), columns=list(kinds)).to_pylist(maps_as_pydicts="strict")
    actions = [{kind: row[kind]} for row in rows for kind in kinds if row[kind] is not None]
    state.apply(version, actions, subject)


def _live_file(added: Action) -> LiveFile:
    vector = added.get("deletionVector")
    if vector is not None:
        vector = {key: value for key, value in vector.items() if value is not None}
    return LiveFile(
        added["path"],
        added["size"],
        dict(added.get("partitionValues") or {}),
        added["modificationTime"],
        added["stats"],
        vector,
    )


def _check_protocol(protocol: Action, subject: str) -> None:
    features = {*(protocol.get("readerFeatures") or ()), *(protocol.get("writerFeatures") or ())}
    if protocol["minReaderVersion"] > 3 or protocol["minWriterVersion"] > 7 or features - KNOWN_FEATURES:
        unknown = ", ".join(sorted(features - KNOWN_FEATURES)) or f"protocol {protocol['minReaderVersion']}"
        raise LakeFromNewerVersion(f"the table uses {unknown}, which this version doesn't write", subject=subject)


def _check_format(metadata: Action, subject: str) -> None:
    written = int((metadata.get("configuration") or {}).get("rireki.format", FORMAT))
    if written > FORMAT:
        raise LakeFromNewerVersion(f"the lake has format {written}, this version knows {FORMAT}", subject=subject)
