"""The directory service: ``uvicorn services.directory.app:create_app --factory`` (127.0.0.1 unless told otherwise).

Needs DIRECTORY_DSN and DIRECTORY_TOKEN; see settings and, for what the token proves and what not, call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from services.directory import problems
from services.directory.api import history, memberships, organisations, pharmacies, role_grants, tenants, users
from services.directory.edge import Edge
from services.directory.settings import Settings
from services.shared.transaction import Database


def create_app(settings: Settings | None = None) -> FastAPI:
    """Raises StartupError for a bad environment; the database is opened when the server starts."""
    settings = settings or Settings.from_environment()
    database = Database(settings.dsn, max_connections=settings.max_connections, name="services.directory")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        database.open()
        yield
        database.close()

    app = FastAPI(
        title="Directory", version="1", lifespan=lifespan, redoc_url=None, responses={"default": problems.DOCUMENTED}
    )
    app.state.settings = settings
    app.state.database = database
    app.add_middleware(Edge, token=settings.token)
    problems.install(app)
    for module in (tenants, organisations, pharmacies, users, memberships, role_grants, history):
        # For the documentation: the edge has checked the token before anything gets here.
        app.include_router(module.router, prefix="/v1", dependencies=[Depends(HTTPBearer(auto_error=False))])

    @app.get("/healthz")
    def healthz() -> Response:
        """200 when the database answers, 503 when not. Needs no token."""
        alive = database.alive()
        return JSONResponse({"database": alive}, 200 if alive else 503)

    return app
