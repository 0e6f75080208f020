"""An S3 endpoint on the loopback: moto's server as a child. **It forgets everything when it stops.**

It keeps objects in memory, and honours conditional put (``If-None-Match``), which Delta's commits rest on. For trying
out ``s3://`` lakes and for tests; a lake that shall be there tomorrow belongs on ``file://`` or a real bucket.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

import boto3

from infra.ports import LOOPBACK
from infra.program import Program, http
from infra.state import StateFolder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NAME = "s3"
_REGION = "us-east-1"  # the only one in which S3 takes a bucket without a location constraint


@dataclass
class S3Server:
    """A running endpoint. ``options`` is what delta-rs, Polars and obstore take as ``storage_options``."""

    endpoint: str
    program: Program
    secret_key: str = field(repr=False)
    access_key: str = "rireki"

    @classmethod
    def start(cls, folder: StateFolder, *, port: int | None = None) -> S3Server:
        """Empty at every start. Raises: PortTaken, ProgramFailed."""
        chosen = folder.port(_NAME, port)
        endpoint = f"http://{LOOPBACK}:{chosen}"
        program = Program.start(
            folder,
            _NAME,
            [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(chosen)],
            ready=http(f"{endpoint}/moto-api/data.json"),
            ready_within_s=60,
        )
        return cls(endpoint, program, folder.secret("s3-secret-key"))

    @property
    def options(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=_REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def create_bucket(self, name: str) -> str:
        """Returns its URL, ``s3://name``. A name has 3 to 63 characters; creating it again changes nothing."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    def stop(self) -> None:
        """Everything in it is gone then. May be repeated."""
        self.program.stop()

    def __enter__(self) -> S3Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
