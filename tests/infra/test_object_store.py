"""The S3 endpoint: what Delta's commits need of it, and that it forgets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from deltalake import DeltaTable, write_deltalake

from infra.object_store import S3Server
from infra.program import http
from infra.state import StateFolder
from tests.conftest import Bucket


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    with StateFolder(tmp_path) as folder:
        yield folder


def test_of_many_writers_of_one_new_object_exactly_one_wins(s3: Bucket) -> None:
    client = s3.server.client()

    def put(writer: int) -> int | None:
        try:
            client.put_object(Bucket=s3.name, Key="commit.json", Body=str(writer).encode(), IfNoneMatch="*")
        except ClientError as refused:
            assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 412
            return None
        return writer

    with ThreadPoolExecutor(8) as pool:
        winners = [writer for writer in pool.map(put, range(32)) if writer is not None]

    assert len(winners) == 1
    assert client.get_object(Bucket=s3.name, Key="commit.json")["Body"].read() == str(winners[0]).encode()


def test_delta_table_is_written_and_read_with_the_options(s3: Bucket) -> None:
    table = f"{s3.url}/current/directory/users"

    write_deltalake(table, pa.table({"id": [1, 2]}), storage_options=s3.options)
    write_deltalake(table, pa.table({"id": [3]}), storage_options=s3.options, mode="append")

    assert DeltaTable(table, storage_options=s3.options).to_pyarrow_table().num_rows == 3


def test_each_test_has_a_bucket_of_its_own(s3: Bucket) -> None:
    assert s3.server.client().list_objects_v2(Bucket=s3.name)["KeyCount"] == 0


def test_restart_keeps_address_and_keys_and_forgets_the_rest(folder: StateFolder) -> None:
    with S3Server.start(folder) as first:
        assert first.create_bucket("lake") == "s3://lake"
        assert first.create_bucket("lake") == "s3://lake"
        assert [bucket["Name"] for bucket in first.client().list_buckets()["Buckets"]] == ["lake"]

    with S3Server.start(folder) as second:
        assert second.options == first.options
        assert second.client().list_buckets()["Buckets"] == []


def test_stop_leaves_nobody_listening(folder: StateFolder) -> None:
    server = S3Server.start(folder)

    server.stop()

    assert not http(server.endpoint)()


def test_secret_key_stays_out_of_repr(s3_server: S3Server) -> None:
    assert s3_server.secret_key not in repr(s3_server)
