from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.root import LakeRoot
from tests.conftest import Bucket


@pytest.fixture
def s3_root(s3: Bucket) -> LakeRoot:
    # The endpoint is a process of its own: delta-rs's SQL holds the interpreter's lock while it waits for answers.
    return LakeRoot(f"{s3.url}/some/prefix", s3.options)


@pytest.fixture
def local_root(tmp_path: Path) -> LakeRoot:
    return LakeRoot(f"file://{tmp_path / 'lake'}")


@pytest.fixture(params=["file", "s3"])
def lake_root(request: pytest.FixtureRequest) -> LakeRoot:
    """An empty lake's root: once on the local file system, once on S3."""
    root: LakeRoot = request.getfixturevalue("local_root" if request.param == "file" else "s3_root")
    return root
