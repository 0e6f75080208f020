"""Where a lake lives, and whether a lake can live there.

<root>/changelog/<schema>/<table>   <root>/transactions
<root>/current/<schema>/<table>     <root>/cuts
<root>/history/<schema>/<table>     each of them one plain Delta table
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from cdc.relation import TableName
from lakehouse.errors import ConditionalPutRefused, LakeError, LakeUnreachable
from lakehouse.names import to_segment
from lakehouse.store import LocalStore, RemoteStore, Store

TableKind = Literal["changelog", "current", "history"]
SharedTable = Literal["transactions", "cuts", "quarantine"]


_NOT_IN_PATHS = re.compile(r"[%=\\\x00-\x1f\x7f]")


@dataclass(frozen=True)
class LakeRoot:
    """``file:///folder``, an absolute path, or ``s3://bucket/prefix``.

    ``options`` are object-store options in delta-rs's spelling (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ALLOW_HTTP``); they hold secrets and never show in ``repr``.
    Raises LakeUnreachable for any other kind of URL.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if self.url.startswith("file://"):
            object.__setattr__(self, "url", unquote(self.url.removeprefix("file://")))
        plain = self.url.rstrip("/")
        bucket = plain.removeprefix("s3://").partition("/")[0] if plain.startswith("s3://") else None
        if bucket == "" or (bucket is None and not plain.startswith("/")):
            raise LakeUnreachable(
                "not a place for a lake: it is written file:///folder or s3://bucket/prefix",
                subject=self.url,
                fix="correct [lake] url in rireki.toml, then: rireki doctor",
            )
        if bucket is None and (found := _NOT_IN_PATHS.search(plain)):
            # Taken for an escape, a partition, a separator, or refused, by one reader or another.
            raise LakeUnreachable(
                f"a lake's path may not hold {found.group()!r}: some reader can't open it",
                subject=plain,
                fix="choose another folder in [lake] url of rireki.toml, or --state FOLDER; then: rireki doctor",
            )
        object.__setattr__(self, "url", plain)

    @property
    def is_local(self) -> bool:
        return not self.url.startswith("s3://")

    @property
    def is_plain(self) -> bool:
        """Whether every reader can open it: delta-rs escapes other paths, and Polars takes the escapes for names."""
        return not self.is_local or quote(self.url, safe="/~") == self.url

    @property
    def storage_options(self) -> dict[str, str] | None:
        """For delta-rs and Polars; None for a local lake."""
        return None if self.is_local else dict(self.options)

    def uri(self, kind: TableKind, name: TableName) -> str:
        """The Delta table's URI; a plain absolute path for a local lake, which every reader takes."""
        return f"{self.url}/{table_path(kind, name)}"

    def uri_of(self, table: SharedTable) -> str:
        return f"{self.url}/{table}"

    def store(self) -> Store:
        """A handle on the objects under this root. Opening it touches nothing."""
        return LocalStore(Path(self.url)) if self.is_local else RemoteStore(self.url, self.options)

    def check(self) -> None:
        """Try what a commit does, and leave nothing behind.

        Raises BucketMissing; ConditionalPutRefused when the store lets two writers win one commit; LakeUnreachable
        when it doesn't answer within seconds or doesn't let us write.
        """
        store = LocalStore(Path(self.url)) if self.is_local else RemoteStore(self.url, self.options, patient=False)
        probe = f"rireki-check-{uuid.uuid4().hex}"
        try:
            first = store.put_if_absent(probe, b"first")
            second = store.put_if_absent(probe, b"second")
            if not first or second or store.get(probe) != b"first":
                raise ConditionalPutRefused(
                    "the store lets two writers win the same name, so commits could be lost", subject=self.url
                )
        except LakeError:
            with contextlib.suppress(LakeError):
                store.remove(probe)
            raise
        store.remove(probe)


def table_path(kind: TableKind, name: TableName) -> str:
    """The table's place below the root."""
    return f"{kind}/{to_segment(name.schema)}/{to_segment(name.table)}"
