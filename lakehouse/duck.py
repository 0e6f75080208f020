"""A DuckDB that reads this lake and nothing else.

Delta and S3 come from DuckDB's own signed extensions: the installed ones, else those inside the
``duckdb-extension-*`` wheels (for machines that can't download), else ``INSTALL``. Unsigned ones are never allowed.

Two walls stand between a query and the machine: ``lakehouse.query`` lets only a SELECT over known tables through,
and here DuckDB itself may open files of the lake only, and can't be told otherwise afterwards.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import duckdb

from lakehouse.errors import EngineMissing
from lakehouse.root import LakeRoot

if TYPE_CHECKING:
    import boto3


def connect(root: LakeRoot, overlays: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory database, time zone UTC, locked down to ``root`` and the folder ``overlays``.

    Takes about 0.3 s: keep it, and use cursors.

    Raises: EngineMissing where an extension can't be had.
    """
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",  # a name in SQL is a table, never a Python variable
            "temp_directory": str(Path(tempfile.gettempdir()) / f"rireki-duckdb-{os.getpid()}"),
        }
    )
    _load(connection, "delta")
    if not root.is_local:
        _load(connection, "httpfs")
        remember_secret(connection, root)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET parquet_metadata_cache = true")  # a data file never changes
    connection.execute(f"SET allowed_directories = [{literal(f'{root.url}/')}, {literal(f'{overlays}/')}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def literal(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A SQL name, quoted."""
    return '"' + name.replace('"', '""') + '"'


def scan(uri: str, version: int) -> str:
    """A Delta table as DuckDB reads it: by the name under which ``attach`` makes it known."""
    # DuckDB takes names that differ only by case for one.
    return identifier(f"{hashlib.sha256(uri.encode()).hexdigest()}@{version}")


def attach(connection: duckdb.DuckDBPyConnection, root: LakeRoot, uri: str, version: int) -> None:
    """Make ``scan`` of this version work. Its log is read once, at the first query, where that is safe."""
    # A pinned table keeps the keys with which it was opened: it mustn't outlive them.
    lasting = root.is_local or ("AWS_ACCESS_KEY_ID" in root.options and "AWS_SESSION_TOKEN" not in root.options)
    pin = ", PIN_SNAPSHOT" if lasting else ""
    connection.execute(
        f"ATTACH IF NOT EXISTS {literal(uri)} AS {scan(uri, version)} (TYPE delta, VERSION {version}{pin})"
    )


def _load(connection: duckdb.DuckDBPyConnection, extension: str) -> None:
    attempts = (
        f"LOAD {extension}",
        f"LOAD {literal(_wheel_file(extension))}",
        f"INSTALL {extension}; LOAD {extension}",
    )
    causes: list[str] = []
    for attempt in attempts:
        try:
            connection.execute(attempt)
        except duckdb.Error as error:
            causes.append(str(error).splitlines()[0])
        else:
            return
    raise EngineMissing(f"DuckDB {duckdb.__version__} can't load it: {causes[-1]}", subject=extension)


def _wheel_file(extension: str) -> str:
    try:
        package = importlib.resources.files(f"duckdb_extension_{extension}")
    except ModuleNotFoundError:
        return f"{extension}.duckdb_extension"  # not there: the attempt fails and the next one follows
    return str(package / "extensions" / f"v{duckdb.__version__}" / f"{extension}.duckdb_extension")


def remember_secret(connection: duckdb.DuckDBPyConnection, root: LakeRoot) -> None:
    """Tell DuckDB the same object store, in its own words.

    Where the lake states no keys, AWS's usual chain is asked (environment, profile, role), as delta-rs does itself;
    what it gives may expire, so this may be called again at any time.
    """
    options = {key.upper(): value for key, value in root.options.items()}
    settings = {
        "KEY_ID": options.get("AWS_ACCESS_KEY_ID"),
        "SECRET": options.get("AWS_SECRET_ACCESS_KEY"),
        "SESSION_TOKEN": options.get("AWS_SESSION_TOKEN"),
        "REGION": options.get("AWS_REGION") or options.get("AWS_DEFAULT_REGION"),
    }
    if not settings["KEY_ID"] and (found := _session().get_credentials()) is not None:
        keys = found.get_frozen_credentials()
        settings |= {"KEY_ID": keys.access_key, "SECRET": keys.secret_key, "SESSION_TOKEN": keys.token}
    if not settings["REGION"]:
        settings["REGION"] = _session().region_name
    if endpoint := options.get("AWS_ENDPOINT_URL") or options.get("AWS_ENDPOINT"):
        parts = urlsplit(endpoint if "//" in endpoint else f"https://{endpoint}")
        virtual = options.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false").lower() == "true"
        settings |= {
            "ENDPOINT": parts.netloc + parts.path.rstrip("/"),
            "URL_STYLE": "vhost" if virtual else "path",
            "USE_SSL": "true" if parts.scheme == "https" else "false",
        }
    stated = "".join(f", {name} {literal(value)}" for name, value in settings.items() if value)
    connection.execute(f"CREATE OR REPLACE SECRET lake (TYPE s3{stated}, SCOPE {literal(root.url)})")


@functools.cache
def _session() -> boto3.Session:
    """Kept, because it renews what expires."""
    import boto3  # 0.3 s, and only a lake on S3 without stated keys needs it

    return boto3.Session()
