"""Connections come out of one door, and services reach nothing but their database."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import services

ROOT = Path(services.__file__).parent
DOOR = "shared/transaction.py"
# migrate and journal log in as the administrator, for every tenant: they are tools and serve nobody.
MAY_CONNECT = {DOOR, "migrate/apply.py", "journal/read.py", "journal/backfill.py", "journal/expire.py"}
HTTP_CLIENTS = {"httpx", "requests", "urllib", "urllib3", "http", "aiohttp", "socket"}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def _opens_connections(tree: ast.Module) -> set[str]:
    """What the module names of psycopg's ways to connect, and of the door's own pool."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names if name.name.split(".")[0] in {"psycopg_pool", "psycopg_c"}}
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] == "psycopg_pool":
                    found.add(module)
                if module == "psycopg":
                    found |= {name.name for name in names if name.name in {"connect", "Connection", "AsyncConnection"}}
            case ast.Attribute(attr="connect" | "Connection" | "AsyncConnection" as attr, value=ast.Name(id="psycopg")):
                found.add(f"psycopg.{attr}")
            case ast.Attribute(attr=str(attr)) | ast.Constant(value=str(attr)) if attr.startswith("_Database__"):
                found.add(attr)
            case _:
                pass
    return found


def _imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {name.name.split(".")[0] for name in names}
            case ast.ImportFrom(module="urllib.parse"):
                pass  # takes addresses apart, and calls nobody
            case ast.ImportFrom(module=str(module)):
                found.add(module.split(".")[0])
            case _:
                pass
    return found


def test_only_the_door_opens_connections() -> None:
    opening = {name for name, tree in _modules() if _opens_connections(tree)}

    assert opening == MAY_CONNECT


def test_no_service_has_an_http_client_but_for_what_lies_outside() -> None:
    # A tenant's own identity provider is no service of ours, and nobody but it knows whom it has let in.
    calling = {name for name, tree in _modules() if _imported(tree) & HTTP_CLIENTS}

    assert calling == {"workload/client.py", "auth/away.py"}


def test_the_lint_sees_every_way_around_the_door() -> None:
    ways = [
        "import psycopg_pool",
        "from psycopg_pool import ConnectionPool",
        "import psycopg\npsycopg.connect('')",
        "import psycopg\npsycopg.Connection.connect('')",
        "from psycopg import connect",
        "database._Database__pool.connection()",
        "getattr(database, '_Database__pool')",
    ]

    assert [way for way in ways if not _opens_connections(ast.parse(way))] == []
    assert _opens_connections(ast.parse("from psycopg import sql\nfrom psycopg.rows import dict_row")) == set()
