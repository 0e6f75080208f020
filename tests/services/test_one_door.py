"""Connections come out of one door, and services reach nothing but their database."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import services
from tests.services import egress
from tests.services.conftest import Assets

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


def _addresses(tree: ast.Module) -> set[str]:
    """Where the module's code could send something: strings that are an address with a host. What a person reads (a
    docstring, a fix, a help text) is left out by its blanks."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"[a-z+]+://[A-Za-z0-9\[]|[A-Za-z0-9-]*[A-Za-z.][A-Za-z0-9.-]*:[0-9]{2,5}(/|$)", node.value)
        and " " not in node.value
    }


def test_what_all_services_share_stays_small() -> None:
    """Whoever changes it rebuilds them all: it has to be read in one go."""
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in (ROOT / "shared").glob("*.py"))

    assert lines < 600


def test_no_service_knows_an_address() -> None:
    named = {(name, address) for name, tree in _modules() for address in _addresses(tree)}

    assert named == {
        ("journal/schema.py", "https://json-schema.org/draft/2020-12/schema"),  # a name, and asked nothing
        ("auth/protocol/wire.py", "https://issuer"),  # a base that Authlib wants, and asked nothing
    }


def test_a_request_makes_no_connection_but_to_the_database(assets: Assets) -> None:
    """Not by a client that the lint doesn't know either: the interpreter itself tells of every connection."""
    assets.found()
    license, user = assets.license(1), assets.user()
    with egress.watched() as connections:
        assets.assign(license, user_id=user)
        assets.check(user_id=user)
        assets.directory.pharmacy(assets.directory.organisation())

        assert connections == []
        # The control: the same, from a thread like those in which requests run.
        thread = threading.Thread(target=egress.try_one, name=egress.WORKER)
        thread.start()
        thread.join(10)
        assert len(connections) == 1


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
    for address in ("http://auth:8002/x", "https://10.0.0.1", "amqp://queue", "directory:8000", "127.0.0.1:8001/v1"):
        assert _addresses(ast.parse(f"ask('{address}')")) == {address}
    assert _opens_connections(ast.parse("from psycopg import sql\nfrom psycopg.rows import dict_row")) == set()
