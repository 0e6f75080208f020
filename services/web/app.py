"""A service's application, made of its routers, and the process that serves it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from services.shared.errors import StartupError
from services.shared.event import Aggregate
from services.shared.transaction import Database
from services.web import docs, problems, reads
from services.web.edge import Edge
from services.web.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """``name`` is also its schema, its role and, in capitals, the prefix of its environment."""

    name: str
    routers: tuple[APIRouter, ...]
    aggregates: tuple[Aggregate, ...]


def build(service: Service, settings: Settings | None = None) -> FastAPI:
    """Raises StartupError for a bad environment; the database is opened when the server starts."""
    settings = settings or Settings.from_environment(service.name)
    database = Database(settings.dsn, max_connections=settings.max_connections, name=f"services.{service.name}")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        database.open()
        yield
        database.close()

    app = docs.described(service.name.capitalize(), lifespan)
    app.state.schema = service.name
    app.state.database = database
    app.add_middleware(Edge, token=settings.token)
    problems.install(app)
    docs.install(app)
    for router in (*service.routers, reads.history(service.name, service.aggregates)):
        # For the documentation: the edge has checked the token before anything gets here.
        app.include_router(router, prefix="/v1", dependencies=[Depends(HTTPBearer(auto_error=False))])

    @app.get("/healthz", summary="Tell whether the service is well")
    def healthz() -> Response:
        """200 when the database answers, 503 when not. Needs no token."""
        alive = database.alive()
        return JSONResponse({"database": alive}, 200 if alive else 503)

    return app


def serve(create_app: Callable[[], FastAPI], name: str, arguments: Sequence[str] | None = None) -> int:
    """Until SIGTERM. Exit codes: 0 stopped, 2 the environment is wrong."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}")
    parser.add_argument("--host", default="127.0.0.1", help="default %(default)s: the token is no defence of a network")
    parser.add_argument("--port", type=int, default=8000, help="default %(default)s")
    parser.add_argument("--no-access-log", action="store_true")
    given = parser.parse_args(arguments)
    try:
        app = create_app()
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    uvicorn.run(app, host=given.host, port=given.port, access_log=not given.no_access_log)
    return 0
