"""The sections of ``rireki.toml``: each value with its bounds, and each default with its reason.

The reasons are the fields' descriptions; ``rireki init`` writes them into the file as comments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from cdc.relation import TableName
from lakehouse.promise import Promise

_SLOT_NAME = re.compile(r"\A[a-z0-9_]{1,63}\Z")
_DURATION = re.compile(r"\A(?P<count>\d{1,5}) (?P<unit>hour|day|week|month|year)s?\Z")
# A month or a year is the longest one: a promise may be kept longer, never shorter.
_UNITS = {"hour": 1, "day": 24, "week": 7 * 24, "month": 31 * 24, "year": 366 * 24}
_STRICT = ConfigDict(frozen=True, extra="forbid")


def _conninfo(dsn: SecretStr) -> SecretStr:
    try:
        conninfo_to_dict(dsn.get_secret_value())
    except ProgrammingError:
        # libpq's own message repeats what it was given, and that may hold a password.
        raise ValueError("must look like postgresql://user@host/dbname or 'host=… user=… dbname=…'") from None
    return dsn


def _slot_name(name: str) -> str:
    if not _SLOT_NAME.match(name):
        raise ValueError(f"must be 1 to 63 of a-z, 0-9 and _ (PostgreSQL's rule for slots), got {name!r}")
    return name


def _identifier(name: str) -> str:
    if not name or len(name.encode()) > 63:
        raise ValueError(f"must be 1 to 63 bytes long, got {name!r}")
    return name


def _table_name(name: str) -> str:
    TableName.parse(name)
    return name


def _lake_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if separator and scheme not in ("s3", "file"):
        raise ValueError(f"must be s3://bucket/prefix, file:///folder or a folder, got {url!r}")
    if not url or (scheme == "s3" and not rest.split("/")[0]):
        raise ValueError(f"must name a bucket or a folder, got {url!r}")
    return url


def _duration(text: str) -> str:
    if text == "forever":
        raise ValueError("can't be forever: every version for ever would keep every file for ever; say '10 years'")
    if not _DURATION.match(text):
        raise ValueError(f"must be like '36 hours', '7 days', '3 months' or '10 years', got {text!r}")
    return text


def _never_removed(text: str) -> str:
    if text != "forever":
        raise ValueError(f"must be forever: nothing removes changes or intervals, got {text!r}")
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"must be a time zone's name, such as Asia/Tokyo, got {name!r}") from None
    return name


def duration(text: str) -> timedelta:
    """What a checked setting means."""
    match = _DURATION.match(text)
    assert match is not None
    return timedelta(hours=int(match["count"]) * _UNITS[match["unit"]])


class Source(BaseModel):
    """The PostgreSQL that is read."""

    model_config = _STRICT

    dsn: Annotated[SecretStr, AfterValidator(_conninfo)] = Field(
        description="Where the database is. Any libpq spelling; hidden in logs, for it may hold a password."
    )
    password_file: Path | None = Field(
        default=None,
        description="A file that holds the password and nothing else, relative to this one. "
        "Or set RIREKI_SOURCE__PASSWORD, PGPASSWORD or ~/.pgpass.",
    )
    password: SecretStr | None = Field(default=None, exclude=True)


class Stream(BaseModel):
    """One slot, one publication, their tables. Several streams may feed one lake."""

    model_config = _STRICT

    name: Annotated[str, AfterValidator(_slot_name)] = Field(
        default="rireki", description="Names the stream's marks in the lake; keep it for the lake's lifetime."
    )
    publication: Annotated[str, AfterValidator(_identifier)] | None = Field(
        default=None, description="What is read. Yours to alter in SQL at any time. The stream's name unless set."
    )
    slot: Annotated[str, AfterValidator(_slot_name)] | None = Field(
        default=None, description="Where the server remembers how far we are. The stream's name unless set."
    )

    @property
    def publication_name(self) -> str:
        return self.publication or self.name

    @property
    def slot_name(self) -> str:
        return self.slot or self.name


class Lake(BaseModel):
    """Where the Delta tables are."""

    model_config = _STRICT

    url: Annotated[str, AfterValidator(_lake_url)] = Field(
        description="s3://bucket/prefix, file:///folder, or a folder relative to this file."
    )
    endpoint: str | None = Field(
        default=None, description="For a store that speaks S3 elsewhere than AWS, e.g. http://127.0.0.1:9000."
    )
    region: str = Field(default="us-east-1", description="S3's own default; stores other than AWS ignore it.")
    copy_on_write: tuple[Annotated[str, AfterValidator(_table_name)], ...] = Field(
        default=(),
        description="Tables, as 'schema.table', whose readers don't know deletion vectors: each change then rewrites "
        "whole files.",
    )

    @property
    def without_vectors(self) -> tuple[TableName, ...]:
        """The tables of ``copy_on_write``."""
        return tuple(map(TableName.parse, self.copy_on_write))


class Capture(BaseModel):
    """How eagerly changes travel. A batch is closed by whichever bound it meets first."""

    model_config = _STRICT

    max_batch_rows: int = Field(
        default=100_000, gt=0, description="A batch of that many rows commits in about a second; larger gains nothing."
    )
    max_batch_bytes: int = Field(
        default=64 * 1024 * 1024,
        gt=0,
        description="Bounds memory: a few batches of 64 MiB are in flight at once. A larger transaction is written in "
        "parts of half that size, and becomes visible as one.",
    )
    max_fill_ms: int = Field(
        default=500,
        ge=0,
        le=600_000,
        description="How long a change may wait for company. Shorter means fresher answers and more Delta commits.",
    )
    copy_workers: int = Field(
        default=2,
        gt=0,
        le=64,
        description="Parts of tables copied side by side. Each takes a connection, about 100 MB, and most of a core "
        "of the source.",
    )
    idle_cut_seconds: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="How often a quiet source's silence is recorded, so that 'as of now' keeps meaning something.",
    )
    heartbeat_seconds: float = Field(
        default=30,
        ge=0,
        description="How often a message is sent through the source, so that a busy neighbour database can't make "
        "the slot keep its WAL. 0 turns it off (e.g. for a read-only role).",
    )
    spill_dir: Path | None = Field(
        default=None,
        description="Where transactions that still run are kept once memory shouldn't hold them: a disk with room for "
        "the largest, in a file that vanishes with the process. The system's temporary folder unless set; set it where "
        "that is in memory.",
    )
    status_interval_seconds: float = Field(
        default=10, gt=0, le=30, description="A sixth of PostgreSQL's wal_sender_timeout, so that five may be lost."
    )


class Retention(BaseModel):
    """What is promised to last, counted back from the newest cut. `rireki maintain` keeps it and removes the rest."""

    model_config = _STRICT

    every_version: Annotated[str, AfterValidator(_duration)] = Field(
        default="7 days", description="Every Delta version of every table: what other engines read of the last week."
    )
    hourly_versions: Annotated[str, AfterValidator(_duration)] = Field(
        default="3 months", description="Then the last version before each hour."
    )
    daily_versions: Annotated[str, AfterValidator(_duration)] = Field(
        default="10 years", description="Then the last before each day, so that any date answers for years."
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="Whose hours and days these are. Spark's session should ask in the same zone."
    )
    changelog: Annotated[str, AfterValidator(_never_removed)] = Field(
        default="forever",
        description="Every change: any commit answers exactly. Nothing removes one, so only this can be said.",
    )
    history: Annotated[str, AfterValidator(_never_removed)] = Field(
        default="forever", description="Intervals, as far as `rireki history` has built them. The same."
    )

    def promise(self) -> Promise:
        """The same for the lake."""
        return Promise(
            duration(self.every_version), duration(self.hourly_versions), duration(self.daily_versions), self.zone
        )


class Alerts(BaseModel):
    """Who is told when the lake falls behind."""

    model_config = _STRICT

    urls: tuple[SecretStr, ...] = Field(
        default=(), description="Where alerts go, in Apprise's spelling (json://host/path, slack://…, mailto://…)."
    )
    lag_seconds: float = Field(
        default=60, gt=0, description="Readers are promised a minute from commit to queryable; later than that alerts."
    )
    maintenance_hours: float = Field(
        default=24,
        gt=0,
        description="Once somebody runs `rireki maintain`, a day without it means that nobody does now.",
    )


class OutboxDestination(BaseModel):
    """One queue or webhook that events are handed on to."""

    model_config = _STRICT

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    kind: Literal["sqs", "webhook"]
    url: str
    table: str = "auth.events"
    events: tuple[str, ...] = ("login.*", "session.*")
    start: Literal["now", "beginning"] = "now"
    max_attempts: int = Field(default=8, ge=1, le=100)
    secret_file: Path | None = None
    region: str = "us-east-1"
    endpoint: str | None = None

    @model_validator(mode="after")
    def _keeps_the_order(self) -> OutboxDestination:
        if self.kind == "sqs" and not self.url.endswith(".fifo"):
            raise ValueError(f"{self.url}: only a FIFO queue keeps the order; its URL ends in .fifo")
        if self.kind == "webhook" and not self.url.startswith(("https://", "http://")):
            raise ValueError(f"{self.url}: a webhook's URL begins with https://")
        return self


class Outbox(BaseModel):
    """Who else gets domain events: see docs/operating/outbox.md."""

    model_config = _STRICT

    poll_seconds: float = Field(
        default=2, gt=0, le=3600, description="How often the lake is asked for new events. The source is asked nothing."
    )
    destinations: tuple[OutboxDestination, ...] = Field(
        default=(), description="Tables [[outbox.destinations]] with name, kind (sqs, webhook), url, table, events."
    )


SECTIONS: Mapping[str, type[BaseModel]] = {
    "source": Source,
    "stream": Stream,
    "lake": Lake,
    "capture": Capture,
    "retention": Retention,
    "alerts": Alerts,
    "outbox": Outbox,
}
