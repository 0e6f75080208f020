from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lakehouse.root import LakeRoot

_buckets = itertools.count()


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, str]]:
    """A real S3 endpoint; options in delta-rs's spelling."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else every request fills a failing test's report
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    server.stop()


@pytest.fixture
def s3_root(s3_options: dict[str, str]) -> LakeRoot:
    bucket = f"lake-{next(_buckets)}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_options["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    return LakeRoot(f"s3://{bucket}/some/prefix", s3_options)


@pytest.fixture
def local_root(tmp_path: Path) -> LakeRoot:
    return LakeRoot(f"file://{tmp_path / 'lake'}")


@pytest.fixture(params=["file", "s3"])
def lake_root(request: pytest.FixtureRequest) -> LakeRoot:
    """An empty lake's root: once on the local file system, once on S3."""
    root: LakeRoot = request.getfixturevalue("local_root" if request.param == "file" else "s3_root")
    return root
