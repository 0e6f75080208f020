"""``rireki.toml``: what to read, where to write, and how eagerly. Checked once, then frozen.

Values come from the file and are overridden by the environment: ``RIREKI_SECTION__NAME``, e.g. ``RIREKI_SOURCE__DSN``.
Secrets stay out of it: the password comes from ``RIREKI_SOURCE__PASSWORD``, from the file that ``source.password_file``
names, or from where libpq looks (``PGPASSWORD``, ``~/.pgpass``); the lake's keys come from ``AWS_*``.

Each field's description gives the reason for its default; ``rireki init`` writes them into the file as comments.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lakehouse.root import LakeRoot
from pipelines.errors import ConfigInvalid, ConfigMissing, ConfigUnreadable, Problem

DEFAULT_FILE = Path("rireki.toml")
EMBEDDED_FILE = Path(".rireki/rireki.toml")  # written by `rireki up`
CONNECT_TIMEOUT_SECONDS = 5

_SLOT_NAME = re.compile(r"\A[a-z0-9_]{1,63}\Z")
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


def _lake_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if separator and scheme not in ("s3", "file"):
        raise ValueError(f"must be s3://bucket/prefix, file:///folder or a folder, got {url!r}")
    if not url or (scheme == "s3" and not rest.split("/")[0]):
        raise ValueError(f"must name a bucket or a folder, got {url!r}")
    return url


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


class Capture(BaseModel):
    """How eagerly changes travel. A batch is closed by whichever bound it meets first."""

    model_config = _STRICT

    max_batch_rows: int = Field(
        default=100_000, gt=0, description="A batch of that many rows commits in about a second; larger gains nothing."
    )
    max_batch_bytes: int = Field(
        default=64 * 1024 * 1024, gt=0, description="Bounds memory: a few batches of 64 MiB are in flight at once."
    )
    max_fill_ms: int = Field(
        default=500,
        ge=0,
        le=600_000,
        description="How long a change may wait for company. Shorter means fresher answers and more Delta commits.",
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
    status_interval_seconds: float = Field(
        default=10, gt=0, le=30, description="A sixth of PostgreSQL's wal_sender_timeout, so that five may be lost."
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


SECTIONS: Mapping[str, type[BaseModel]] = {
    "source": Source,
    "stream": Stream,
    "lake": Lake,
    "capture": Capture,
    "alerts": Alerts,
}


class Config(BaseSettings):
    """All of ``rireki.toml``. Load it with :func:`load`; frozen afterwards."""

    model_config = SettingsConfigDict(
        env_prefix="RIREKI_", env_nested_delimiter="__", frozen=True, extra="forbid", case_sensitive=False
    )

    source: Source
    stream: Stream = Stream()
    lake: Lake
    capture: Capture = Capture()
    alerts: Alerts = Alerts()

    _file: Path = PrivateAttr(default=DEFAULT_FILE)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content arrives as arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _one_password(self) -> Config:
        if self.source.password is not None and self.source.password_file is not None:
            raise ValueError("source.password_file and RIREKI_SOURCE__PASSWORD are both set: keep one")
        return self

    @property
    def file(self) -> Path:
        """The file that this came from."""
        return self._file

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self._file.resolve().parent

    def conninfo(self, **overrides: Any) -> str:
        """A libpq connection string with the password in it: for ``psycopg.connect``, never for a log.

        Raises ConfigInvalid when ``source.password_file`` can't be read.
        """
        defaults: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "rireki"}
        defaults |= conninfo_to_dict(self.source.dsn.get_secret_value())
        password = self._password()
        if password is not None:
            defaults["password"] = password
        return make_conninfo("", **(defaults | overrides))

    @property
    def shown_dsn(self) -> str:
        """The connection string as it may be printed: without a password."""
        parts = conninfo_to_dict(self.source.dsn.get_secret_value())
        parts.pop("password", None)
        return make_conninfo("", **parts)

    def lake_root(self) -> LakeRoot:
        """The lake with what is needed to open it; keys come from ``AWS_*``."""
        url = self.lake.url
        if url.startswith("s3://"):
            return LakeRoot(url.rstrip("/"), self._s3_options())
        folder = (self.folder / Path(url.removeprefix("file://")).expanduser()).resolve()
        return LakeRoot(folder.as_uri(), {})

    def _s3_options(self) -> dict[str, str]:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        options = {name: os.environ[name] for name in names if os.environ.get(name)}
        options["AWS_REGION"] = self.lake.region
        if self.lake.endpoint is not None:
            options["AWS_ENDPOINT_URL"] = self.lake.endpoint
            if self.lake.endpoint.startswith("http://"):
                options["AWS_ALLOW_HTTP"] = "true"
        return options

    def _password(self) -> str | None:
        if self.source.password is not None:
            return self.source.password.get_secret_value()
        if self.source.password_file is None:
            return None
        path = self.folder / self.source.password_file.expanduser()
        try:
            return path.read_text().strip()
        except OSError as error:
            problem = Problem("source.password_file", f"can't be read: {path}: {error.strerror}")
            raise ConfigInvalid(str(self._file), [problem]) from error


def find() -> Path:
    """What ``RIREKI_CONFIG`` names, else ``./rireki.toml``, else that of a stack started here with ``rireki up``."""
    if named := os.environ.get("RIREKI_CONFIG"):
        return Path(named)
    return EMBEDDED_FILE if not DEFAULT_FILE.exists() and EMBEDDED_FILE.exists() else DEFAULT_FILE


def load(path: Path | None = None) -> Config:
    """Read and check a file and the environment. Raises ConfigMissing, ConfigUnreadable, ConfigInvalid."""
    file = path if path is not None else find()
    return from_settings(_read(file), file=file)


def from_settings(settings: Mapping[str, Any], *, file: Path) -> Config:
    """Check values as if ``file`` held them; the environment still wins. Raises ConfigInvalid with every problem."""
    problems = [*_secrets_in(settings), *_strangers_in(os.environ)]
    told = {problem.setting for problem in problems}
    try:
        config = Config(**settings)
    except ValidationError as error:
        problems += [problem for problem in _problems(error) if problem.setting not in told]
        raise ConfigInvalid(str(file), problems) from None
    if problems:
        raise ConfigInvalid(str(file), problems)
    config._file = file
    return config


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigMissing("there is no such file", subject=str(file)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigUnreadable(f"not TOML: {error}", subject=str(file)) from error
    except OSError as error:
        raise ConfigUnreadable(f"can't be opened: {error.strerror}", subject=str(file)) from error


def _secrets_in(settings: Mapping[str, Any]) -> Iterator[Problem]:
    source = settings.get("source")
    if isinstance(source, dict) and "password" in source:
        yield Problem("source.password", "never in this file: set RIREKI_SOURCE__PASSWORD or source.password_file")
    lake = settings.get("lake")
    for name in lake if isinstance(lake, dict) else ():
        if "key" in name.lower() or "secret" in name.lower():
            yield Problem(f"lake.{name}", "never in this file: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def _strangers_in(environment: Mapping[str, str]) -> Iterator[Problem]:
    # pydantic-settings reports unknown names inside a section, but not unknown sections.
    for name in environment:
        section, nested, _ = name.upper().removeprefix("RIREKI_").partition("__")
        if name.upper().startswith("RIREKI_") and nested and section.lower() not in SECTIONS:
            yield Problem(name, f"no such section; there are {', '.join(SECTIONS)}")


def _problems(error: ValidationError) -> Iterator[Problem]:
    for item in error.errors():
        setting = ".".join(str(part) for part in item["loc"])
        match item["type"]:
            case "missing":
                yield Problem(setting, "must be set")
            case "extra_forbidden":
                yield Problem(setting, f"no such setting{_nearest(item['loc'])}")
            case "greater_than":
                yield Problem(setting, f"must be > {item['ctx']['gt']}, got {item['input']}")
            case "greater_than_equal":
                yield Problem(setting, f"must be >= {item['ctx']['ge']}, got {item['input']}")
            case "less_than_equal":
                yield Problem(setting, f"must be <= {item['ctx']['le']}, got {item['input']}")
            case "value_error":
                text = item["msg"].removeprefix("Value error, ")
                yield Problem(setting, text) if setting else Problem(*_split(text))
            case _:
                what = item["msg"].removeprefix("Input ").replace("should be", "must be")
                yield Problem(setting, what if setting.startswith(_HIDDEN) else f"{what}, got {item['input']!r}")


_HIDDEN = ("source.dsn", "source.password", "alerts.urls")  # may hold a secret: never repeat what was given


def _split(text: str) -> tuple[str, str]:
    setting, _, what = text.partition(" ")
    return setting, what


def _nearest(location: tuple[int | str, ...]) -> str:
    section = SECTIONS.get(str(location[0]))
    if len(location) == 1 or section is None:
        return f"; sections are {', '.join(SECTIONS)}"
    return f"; [{location[0]}] has {', '.join(section.model_fields)}"
