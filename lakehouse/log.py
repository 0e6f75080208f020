"""The one committer of all our Delta tables: put commit N unless somebody has put it.

We are the only writer of a table, so a lost race means one of two things. Either our own put succeeded although the
answer was lost: the winning commit then carries our id. Or somebody else writes: that is said, never merged. Only the
tables that several streams append to (``transactions``, ``cuts``) take another stream's append, or its merging of small
files, and go on after it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from lakehouse.checkpoints import EVERY_COMMITS, Checkpoints
from lakehouse.errors import CorruptCommit, LakeUnreachable, NameCollision, TwoWriters
from lakehouse.store import Store
from lakehouse.table_state import FORMAT, Action, TableState, arrow_schema, load, parse_commit, schema_json

ENGINE = "rireki"
VECTORS = "delta.enableDeletionVectors"


class Overtaken(Exception):
    """Another stream's process has merged the same files meanwhile: there is nothing left to do."""


class DeltaLog:
    """One Delta table's log. Not safe for use by two threads at once: a table has one writing side.

    ``subject`` is how errors call the table. Raises on opening what ``table_state.load`` raises.
    """

    def __init__(
        self, store: Store, path: str, subject: str, uri: str, checkpoints: Checkpoints, *, many_streams: bool = False
    ) -> None:
        self.store = store
        self.path = path
        self.subject = subject
        self._uri = uri
        self._checkpoints = checkpoints
        self._many_streams = many_streams
        self._tried: set[str] = set()  # ids of commits whose outcome we haven't learnt
        self.state: TableState = load(store, path, subject)
        named = self.state.properties.get("rireki.name", subject)
        if named != subject:
            raise NameCollision(f"{uri} already holds {named}: this file system can't tell them apart", subject=subject)

    def marker(self, application: str) -> int | None:
        """The version of the newest ``txn`` action under this application id."""
        return self.state.markers.get(application)

    def settle(self) -> None:
        """Learn what became of a commit whose answer was lost. To be called before a decision on ``state``."""
        while self._tried:
            version = self.state.version + 1
            body = self.store.get(self._commit_path(version))
            if body is None:
                self._tried.clear()
            else:
                self._accept(version, body)

    def commit(self, actions: Sequence[Action], info: Mapping[str, Any], *, blind_append: bool = True) -> int:
        """Commit and return the new version; durable when this returns.

        ``info`` joins the commit's metadata. Raises TwoWriters when somebody else took the version,
        LakeUnreachable when the outcome is unknown: then ``settle`` tells; and Overtaken.
        """
        if self._tried:
            raise RuntimeError(f"{self.subject}: a commit's outcome is unknown, settle() comes first")
        identity = str(uuid.uuid4())
        now = {"timestamp": now_ms(), "engineInfo": ENGINE, "txnId": identity, "isBlindAppend": blind_append}
        self._tried.add(identity)
        while identity in self._tried:
            version = self.state.version + 1
            if version and self._many_streams and any("protocol" in action for action in actions):
                # Another stream has made the table meanwhile.
                actions = [action for action in actions if not action.keys() & {"protocol", "metaData"}]
            lines = [{"commitInfo": now | dict(info)}, *actions]
            body = "\n".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in lines).encode()
            if self.store.put_if_absent(self._commit_path(version), body):
                self.state.apply(version, actions, self.subject)
                self._tried.clear()
            else:
                winner = self.store.get(self._commit_path(version))
                if winner is None:
                    raise LakeUnreachable(f"commit {version} was there and then wasn't", subject=self.subject)
                self._accept(version, winner)
                if self._tried and any(self._is_gone(action) for action in actions):
                    self._tried.clear()
                    raise Overtaken
        self._checkpoints.after_commit(self._uri, self.state.version)
        return self.state.version

    def creation(
        self,
        schema: pa.Schema,
        properties: Mapping[str, str],
        *,
        partition_by: Sequence[str] = (),
        vectors: bool = False,
    ) -> list[Action]:
        """The actions that make the table, to go with its first commit."""
        configuration = {
            "delta.checkpointInterval": str(EVERY_COMMITS),
            # Clean-up would cut off the past at 30 days; only the retention that was promised may.
            "delta.enableExpiredLogCleanup": "false",
            # Wide tables end with the columns that we search by.
            "delta.dataSkippingNumIndexedCols": "-1",
            "rireki.format": str(FORMAT),
            **properties,
        }
        if vectors:
            configuration[VECTORS] = "true"
        metadata: Action = {
            "id": str(uuid.uuid4()),
            "name": self.subject,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema_json(schema),
            "partitionColumns": list(partition_by),
            "configuration": configuration,
            "createdTime": now_ms(),
        }
        return [protocol(schema, vectors=vectors), {"metaData": metadata}]

    def altered(self, schema: pa.Schema, properties: Mapping[str, str]) -> Action:
        """The action that gives the table these columns and adds these properties."""
        configuration = {**self.state.properties, **properties}
        changed = {"schemaString": schema_json(schema), "configuration": configuration}
        return {"metaData": self.state.metadata | changed}

    def _accept(self, version: int, body: bytes) -> None:
        """Take a commit that is there in the place of ours. Raises TwoWriters unless that is right."""
        actions = parse_commit(body, f"{version:020}.json", self.subject)
        written_by = next((action["commitInfo"].get("txnId") for action in actions if "commitInfo" in action), None)
        if written_by not in self._tried:
            harmless = {"commitInfo", "add", "txn"} | ({"protocol", "metaData"} if version == 0 else set())
            is_harmless = all(
                action.keys() <= harmless or _only_moves(action) or self._only_adds_columns(action)
                for action in actions
            )
            if not (self._many_streams and is_harmless):
                raise TwoWriters(f"version {version} was written by somebody else", subject=self.subject)
        if version != self.state.version + 1:
            raise CorruptCommit(f"version {version} doesn't follow {self.state.version}", subject=self.subject)
        self.state.apply(version, actions, self.subject)
        if written_by in self._tried:
            self._tried.clear()

    def _only_adds_columns(self, action: Action) -> bool:
        if action.keys() != {"metaData"} or not self.state.exists:
            return False
        columns = list(arrow_schema(action["metaData"]["schemaString"]))
        return action["metaData"]["id"] == self.state.metadata["id"] and all(
            one in columns for one in self.state.schema
        )

    def _is_gone(self, action: Action) -> bool:
        """Whether it removes a file that is no longer there."""
        return "remove" in action and action["remove"]["path"] not in self.state.files

    def _commit_path(self, version: int) -> str:
        return f"{self.path}/_delta_log/{version:020}.json"


def protocol(schema: pa.Schema, *, vectors: bool) -> Action:
    """What a reader must know, no more."""
    features = ["deletionVectors"] * vectors + ["timestampNtz"] * _has_zoneless_time(schema)
    if not features:
        return {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}
    listed = {"readerFeatures": features, "writerFeatures": features}
    return {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **listed}}


def marker(application: str, version: int) -> Action:
    """A ``txn`` action: how far ``application`` has come, in the same commit as its rows."""
    return {"txn": {"appId": application, "version": version, "lastUpdated": now_ms()}}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _only_moves(action: Action) -> bool:
    """Part of a commit after which the rows are the same."""
    return all(change.get("dataChange") is False for kind, change in action.items() if kind in ("add", "remove")) and (
        action.keys() <= {"add", "remove"}
    )


def _has_zoneless_time(schema: pa.Schema) -> bool:
    def within(kind: pa.DataType) -> bool:
        if pa.types.is_timestamp(kind):
            return kind.tz is None
        return any(within(kind.field(index).type) for index in range(kind.num_fields))

    return any(within(field.type) for field in schema)
