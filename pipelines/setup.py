"""What ``rireki init`` does: check everything, then create the publication and write ``rireki.toml``.

The publication is created inside a transaction in which the table checks are asked; it commits only after the file is
written, so a failure anywhere leaves neither behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic_core import PydanticUndefined

from cdc.publication import (
    create_publication,
    matching_tables,
    publication_exists,
    published_tables,
    require_published,
)
from cdc.relation import TableName
from cdc.source import Connection, connect
from pipelines.config import DEFAULT_FILE, from_settings
from pipelines.doctor import Check, State, lake_check, no_failure, publication_checks, server_checks
from pipelines.errors import ConfigExists, ConfigInvalid, NothingToPublish, Problem
from pipelines.sections import SECTIONS

PASSWORD_FILE = Path("rireki.password")


@dataclass(frozen=True, slots=True)
class Setup:
    """What to point at what.

    ``patterns`` as in cdc.publication.matching_tables; none: what an existing publication lists, else every table.
    """

    source: str
    lake: str
    patterns: tuple[str, ...]
    stream: str
    endpoint: str | None
    region: str
    folder: Path
    with_publication: bool
    overwrite: bool

    @property
    def file(self) -> Path:
        return self.folder / DEFAULT_FILE


@dataclass(frozen=True, slots=True)
class Made:
    """What ``set_up`` left behind, and what it noticed."""

    file: Path
    publication: str
    tables: tuple[TableName, ...]
    checks: tuple[Check, ...]


def set_up(setup: Setup) -> Made:
    """Raises the first failed check, ConfigExists, ConfigInvalid or NothingToPublish; nothing is written then."""
    if setup.file.exists() and not setup.overwrite:
        raise ConfigExists("is already there", subject=str(setup.file))
    settings, password = _settings(setup)
    from_settings(settings, file=setup.file)  # what will be written must itself be sound
    # Until then, the password is where it was given: its file doesn't exist yet.
    config = from_settings(settings | {"source": {"dsn": setup.source}}, file=setup.file)
    checks = no_failure(server_checks(config)) + no_failure([lake_check(config)])
    publication = config.stream.publication_name
    with connect(config.conninfo()) as connection, connection.transaction():
        if setup.with_publication:
            _publish(connection, publication, setup.patterns)
            checks += no_failure(publication_checks(connection, config))
        tables = published_tables(connection, publication)
        _write(setup, settings, password)
    return Made(setup.file, publication, tables, tuple(check for check in checks if check.state is not State.OK))


def _publish(connection: Connection, publication: str, patterns: tuple[str, ...]) -> None:
    exists = publication_exists(connection, publication)
    if exists and not patterns:
        return
    tables = _tables(connection, patterns or ("*.*",))
    if exists:
        require_published(connection, publication, tables)
    else:
        create_publication(connection, publication, tables)


def _tables(connection: Connection, patterns: tuple[str, ...]) -> list[TableName]:
    found: dict[TableName, None] = {}
    for pattern in patterns:
        try:
            matches = matching_tables(connection, pattern)
        except ValueError as error:
            raise NothingToPublish(str(error), subject=f"--tables {pattern!r}") from error
        if not matches:
            raise NothingToPublish("no such table", subject=f"--tables {pattern!r}")
        found |= dict.fromkeys(matches)
    return list(found)


def _settings(setup: Setup) -> tuple[dict[str, dict[str, Any]], str | None]:
    """What the file will say, and the password that it won't."""
    try:
        parts: dict[str, Any] = dict(conninfo_to_dict(setup.source))
    except psycopg.ProgrammingError:
        what = "must look like postgresql://user@host/dbname or 'host=… user=… dbname=…'"
        raise ConfigInvalid("rireki init", [Problem("--source", what)]) from None
    password = parts.pop("password", None)
    source: dict[str, Any] = {"dsn": setup.source if password is None else make_conninfo("", **parts)}
    if password is not None:
        source["password_file"] = str(PASSWORD_FILE)
    lake: dict[str, Any] = {"url": _absolute(setup.lake), "region": setup.region}
    if setup.endpoint is not None:
        lake["endpoint"] = setup.endpoint
    return {"source": source, "stream": {"name": setup.stream}, "lake": lake}, password


def _absolute(lake: str) -> str:
    # On the command line a folder is relative to where one stands; in the file, to the file.
    return lake if "://" in lake else Path(lake).expanduser().resolve().as_uri()


def _write(setup: Setup, settings: dict[str, dict[str, Any]], password: str | None) -> None:
    setup.folder.mkdir(parents=True, exist_ok=True)
    if password is not None:
        write_private(setup.folder / PASSWORD_FILE, password + "\n")
    draft = setup.file.with_suffix(".toml.draft")
    draft.write_text(render(settings), encoding="utf-8")
    draft.replace(setup.file)


def write_private(path: Path, text: str) -> None:
    """A file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def render(settings: dict[str, dict[str, Any]]) -> str:
    """A ``rireki.toml`` that states what is set and shows every default, commented out, with its reason."""
    return "\n".join(_lines(settings)) + "\n"


def _lines(settings: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "# Every value can be overridden: RIREKI_SECTION__NAME. Check it with: rireki doctor"
    for section, model in SECTIONS.items():
        yield ""
        yield f"# {(model.__doc__ or '').strip()}"
        yield f"[{section}]"
        for name, field in model.model_fields.items():
            if field.exclude:
                continue
            yield f"# {field.description}"
            if name in settings.get(section, {}):
                yield f"{name} = {_toml(settings[section][name])}"
            else:
                default = None if field.default is PydanticUndefined else field.default
                yield f"# {name} = {_toml(default)}"


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's.
    return '""' if value is None else json.dumps(list(value) if isinstance(value, tuple) else value)
