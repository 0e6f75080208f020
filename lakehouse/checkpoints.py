"""Checkpoints of our Delta tables, written by delta-rs beside the stream.

A checkpoint only makes opening a table fast: so it runs in the background, and its failure is logged and never fails
a commit; the next one is due a hundred commits later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from deltalake import DeltaTable

EVERY_COMMITS = 100  # 20 would quadruple the log's bytes, 1000 would make opening a table read 1000 objects

_log = logging.getLogger(__name__)


class Checkpoints:
    """One thread for all tables of a lake. ``storage_options`` are delta-rs's."""

    def __init__(self, storage_options: Mapping[str, str] | None) -> None:
        self._storage_options = None if storage_options is None else dict(storage_options)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: dict[str, Future[None]] = {}
        self._lock = Lock()

    def after_commit(self, uri: str, version: int) -> None:
        """Take note of a commit; at most one checkpoint per table is waiting or running."""
        if version == 0 or version % EVERY_COMMITS:
            return
        with self._lock:
            pending = self._pending.get(uri)
            if pending is None or pending.done():
                self._pending[uri] = self._thread.submit(self._write, uri)

    def close(self) -> None:
        """Wait for what is running; forget what is waiting."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _write(self, uri: str) -> None:
        try:
            DeltaTable(uri, storage_options=self._storage_options).create_checkpoint()
        except Exception:
            _log.warning("no checkpoint for %s; the next one is due in %d commits", uri, EVERY_COMMITS, exc_info=True)
