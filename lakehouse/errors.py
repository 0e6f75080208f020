"""What can go wrong with a lake: what happened, to which object, and the next command to type.

    LakeError
    ├── LakeUnreachable          the store doesn't answer, or refuses the credentials
    │   └── CopyOvertaken        a table changed while it was copied: it is copied again by itself
    ├── BucketMissing            nothing is there to write into
    ├── ConditionalPutRefused    the store can't promise one winner per commit
    ├── LakeFromNewerVersion     written by a Rireki (or with a table feature) that this one doesn't know
    ├── CorruptCommit            the log or a changelog says something that can't be
    ├── RowMissing               a change names a row that the table doesn't hold
    ├── TwoWriters               somebody else commits to a table that is ours
    ├── NameCollision            two tables, or two columns, would share one name in the lake
    ├── LakeEmpty                nothing has been copied yet
    ├── BeforeFirstCut           asked for a moment before the lake's first cut
    ├── BeyondLake               asked for a moment that the lake hasn't reached
    ├── UnknownMoment            a time or LSN that can't be read
    ├── UnknownTable             the lake doesn't hold such a table
    ├── UnknownKey               text that can't be a key of the table
    ├── HistoryIncomplete        the answer would need something that is no longer there
    ├── PromiseBroken            maintenance would keep less than was promised, or finds less than that
    ├── PinExists                that name already keeps versions
    ├── UnknownPin               no pin has that name
    ├── QueryRefused             SQL that doesn't only read this lake, or that isn't SQL
    └── EngineMissing            DuckDB lacks the extension that reads the lake

Base and form: ``cdc.errors``.
"""

from __future__ import annotations

from cdc.errors import RirekiError


class LakeError(RirekiError):
    """Something about the tables that are written or read."""


class LakeUnreachable(LakeError):
    default_fix = "check [lake] url, endpoint and credentials in rireki.toml, then: rireki doctor"


class CopyOvertaken(LakeUnreachable):
    default_fix = "nothing: the copy begins anew by itself"


class BucketMissing(LakeError):
    default_fix = "create it (aws s3 mb {subject}) or correct [lake] url in rireki.toml, then: rireki doctor"


class ConditionalPutRefused(LakeError):
    default_fix = "use a store that honours If-None-Match (Amazon S3, MinIO, R2, Ceph), then: rireki doctor"


class LakeFromNewerVersion(LakeError):
    default_fix = "upgrade Rireki on this machine, then: rireki doctor"


class CorruptCommit(LakeError):
    default_fix = "keep the files and report it; rireki doctor shows which tables are whole"


class RowMissing(LakeError):
    default_fix = "rireki reconcile {subject}; where it differs: rireki resync {subject}"


class TwoWriters(LakeError):
    default_fix = "stop every other program that writes to {subject} (maintenance included), then: rireki capture"


class NameCollision(LakeError):
    default_fix = "rename it in the source, or leave it out of the publication, then: rireki doctor"


class LakeEmpty(LakeError):
    default_fix = "rireki drain"


class BeforeFirstCut(LakeError):
    default_fix = "ask for a moment that the lake holds: rireki status shows its first and last cut"


class BeyondLake(LakeError):
    default_fix = "wait for the stream or run rireki drain; rireki status shows how far the lake reaches"


class UnknownMoment(LakeError):
    default_fix = "write --at 'YYYY-MM-DD HH:MM:SS+00', an LSN such as 16/B374D848, or now"


class UnknownTable(LakeError):
    default_fix = "rireki status lists the tables that the lake holds"


class UnknownKey(LakeError):
    default_fix = "write a value of the key column's type; for several columns a JSON array, such as '[1, \"a\"]'"


class HistoryIncomplete(LakeError):
    default_fix = "ask for a later moment, or rireki resync the table; rireki status shows what is complete"


class PromiseBroken(LakeError):
    default_fix = "correct [retention] in rireki.toml; if less is meant: rireki maintain --accept-less"


class PinExists(LakeError):
    default_fix = "choose another name, or: rireki unpin {subject}"


class UnknownPin(LakeError):
    default_fix = "rireki pin lists them"


class QueryRefused(LakeError):
    default_fix = "ask one SELECT over the lake's tables; rireki status lists them"


class EngineMissing(LakeError):
    default_fix = "pip install duckdb-extensions duckdb-extension-{subject}, of DuckDB's own version"


# Of the store, or of this process: whatever else a table's writing raises is that table's alone.
NOT_OF_ONE_TABLE = (LakeUnreachable, BucketMissing, ConditionalPutRefused, TwoWriters, MemoryError)
