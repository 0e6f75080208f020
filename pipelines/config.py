"""``rireki.toml``: what to read, where to write, and how eagerly. Checked once, then frozen.

Values come from the file and are overridden by the environment: ``RIREKI_SECTION__NAME``, e.g. ``RIREKI_SOURCE__DSN``.
Secrets stay out of it: the password comes from ``RIREKI_SOURCE__PASSWORD``, from the file that ``source.password_file``
names, or from where libpq looks (``PGPASSWORD``, ``~/.pgpass``); the lake's keys come from ``AWS_*``."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lakehouse.root import LakeRoot
from pipelines.errors import ConfigInvalid, ConfigMissing, ConfigUnreadable, Problem
from pipelines.sections import SECTIONS, Alerts, Capture, Lake, Outbox, Retention, Source, Stream

DEFAULT_FILE = Path("rireki.toml")
EMBEDDED_FILE = Path(".rireki/rireki.toml")  # written by `rireki up`
CONNECT_TIMEOUT_SECONDS = 5


class Config(BaseSettings):
    """All of ``rireki.toml``. Load it with :func:`load`; frozen afterwards."""

    model_config = SettingsConfigDict(
        env_prefix="RIREKI_", env_nested_delimiter="__", frozen=True, extra="forbid", case_sensitive=False
    )

    source: Source
    stream: Stream = Stream()
    lake: Lake
    capture: Capture = Capture()
    retention: Retention = Retention()
    alerts: Alerts = Alerts()
    outbox: Outbox = Outbox()

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

    def spill_folder(self) -> Path | None:
        """Where transactions that still run are kept; None for the system's temporary folder.

        Raises ConfigInvalid when it isn't there.
        """
        if self.capture.spill_dir is None:
            return None
        folder = self.folder / self.capture.spill_dir.expanduser()
        if not folder.is_dir():
            raise ConfigInvalid(str(self._file), [Problem("capture.spill_dir", f"isn't a folder: {folder}")])
        return folder

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
