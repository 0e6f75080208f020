"""Each API describes itself: every operation says in a few words what it does, no two of a service the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from services.asset.app import create_app as asset
from services.auth.app import create_app as auth
from services.auth.settings import Settings as AuthSettings
from services.directory.app import create_app as directory
from services.web.settings import Settings
from tests.services.auth.conftest import MASTER_KEY
from tests.services.conftest import TOKEN

NOWHERE = "host=127.0.0.1 port=1"  # describing needs no database
APPS: dict[str, Callable[[], FastAPI]] = {
    "directory": lambda: directory(Settings(dsn=NOWHERE, token=TOKEN)),
    "asset": lambda: asset(Settings(dsn=NOWHERE, token=TOKEN)),
    "auth": lambda: auth(AuthSettings(dsn=NOWHERE, token=TOKEN, master_key=MASTER_KEY, issuer="http://localhost:1")),
}


@pytest.mark.parametrize("name", APPS)
def test_every_operation_says_what_it_does(name: str) -> None:
    paths: dict[str, dict[str, Any]] = APPS[name]().openapi()["paths"]
    summaries = [operation["summary"] for methods in paths.values() for operation in methods.values()]

    assert len(summaries) >= 15
    assert [summary for summary in summaries if len(summary.split()) < 2] == []
    assert len(set(summaries)) == len(summaries)
    # FastAPI makes one of the function's name where none is given: "Hand Over", not "Hand a pharmacy over …".
    assert [summary for summary in summaries if summary.istitle()] == []
