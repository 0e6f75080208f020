from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from infra.object_store import S3Server
from tests.lakehouse.conftest import lake_root, local_root, s3_root
from tests.spark.session import missing, start

__all__ = ["lake_root", "local_root", "s3_root"]


@pytest.fixture(scope="session")
def spark(s3_server: S3Server) -> Iterator[Any]:
    """Skipped by name where Spark isn't; ``make test-spark`` sets RIREKI_SPARK, and then it must be."""
    reason = missing()
    wanted = bool(os.environ.get("RIREKI_SPARK"))
    if reason is not None and not (wanted and reason.startswith("Delta's jars")):
        pytest.fail(reason) if wanted else pytest.skip(reason)
    session = start(s3_server)
    yield session
    session.stop()
