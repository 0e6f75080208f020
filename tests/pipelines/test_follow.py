"""Batches become durable in their order, or not at all."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lakehouse.errors import LakeUnreachable
from pipelines.follow import Follower


def test_what_stands_behind_a_batch_that_failed_is_never_written() -> None:
    nothing: Any = None  # no stream, no lake: only the order is asked for
    follower = Follower("", *(nothing,) * 12)
    both_wait, written = threading.Event(), list[str]()

    def fail() -> None:
        both_wait.wait(10)
        raise LakeUnreachable("cut off", subject="s3://bucket")

    follower._submit(fail)
    follower._submit(written.append, "the second batch")
    both_wait.set()
    with pytest.raises(LakeUnreachable):
        while True:
            follower._has_room()

    follower._committing.shutdown()
    assert written == []
