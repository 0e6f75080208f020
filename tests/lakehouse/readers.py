"""Three engines that know nothing of us read a table: delta-rs, Polars, DuckDB's own Delta reader."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from duckdb_extensions import import_extension

from lakehouse.root import LakeRoot
from tests.lakehouse.replay import Row


def with_polars(root: LakeRoot, uri: str, version: int | None = None) -> pa.Table:
    return pl.scan_delta(uri, version=version, storage_options=root.storage_options).collect().to_arrow()


def with_delta_rs(root: LakeRoot, uri: str, version: int | None = None) -> pa.Table:
    table = DeltaTable(uri, version=version, storage_options=root.storage_options)
    return pa.table(QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all())


def with_duckdb(root: LakeRoot, uri: str, version: int | None = None) -> pa.Table:
    connection = duckdb.connect()
    for extension in ("delta", "httpfs"):  # from their wheels: DuckDB would download what it doesn't find
        import_extension(extension)
        connection.load_extension(extension)
    connection.execute("SET TimeZone = 'UTC'")
    if not root.is_local:
        import_extension("httpfs")
        connection.execute("LOAD httpfs")
        options = root.options
        connection.execute(
            f"""CREATE SECRET (TYPE s3, KEY_ID '{options["AWS_ACCESS_KEY_ID"]}', REGION '{options["AWS_REGION"]}',
                SECRET '{options["AWS_SECRET_ACCESS_KEY"]}', USE_SSL false, URL_STYLE 'path',
                ENDPOINT '{options["AWS_ENDPOINT_URL"].removeprefix("http://")}')"""
        )
    at = "" if version is None else f", version => {version}"
    return connection.execute(f"SELECT * FROM delta_scan('{uri}'{at})").to_arrow_table()


READERS: list[Callable[[LakeRoot, str, int | None], pa.Table]] = [with_polars, with_delta_rs, with_duckdb]


def as_rows(table: pa.Table) -> list[Row]:
    """Rows of a ``current`` table in the form that a replay has."""
    own = ("_valid_from_lsn", "_valid_from")
    return [
        Row({name: value for name, value in row.items() if name not in own}, row["_valid_from_lsn"])
        for row in table.to_pylist()
    ]
