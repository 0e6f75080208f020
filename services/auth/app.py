"""The auth service: ``python -m services.auth`` (127.0.0.1:8000 unless told otherwise).

Needs AUTH_DSN, AUTH_TOKEN, AUTH_MASTER_KEY and AUTH_ISSUER; see settings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from services.auth import events
from services.auth.api import upstreams, users
from services.auth.away import Away
from services.auth.edge import SafeHeaders
from services.auth.keys import Keys
from services.auth.pages import account, authorize, enrol, login, logout, password, render, second, set_up, sso
from services.auth.pages.account import LoginFirst, to_login
from services.auth.pages.flow import FlowLost
from services.auth.parts import Parts
from services.auth.protocol import endpoints
from services.auth.settings import Settings
from services.auth.vault import Vault
from services.shared.transaction import Database
from services.web import docs, problems, reads
from services.web.edge import Edge

OPERATORS = "/v1"


def create_app(settings: Settings | None = None) -> FastAPI:
    """Raises StartupError for a bad environment; the database is opened when the server starts."""
    settings = settings or Settings.from_environment()
    database = Database(settings.dsn, max_connections=settings.max_connections, name="services.auth")
    vault = Vault(settings.master_key)
    away = Away(redirect_uri=f"{settings.issuer}/sso/callback", https_only=settings.https)
    parts = Parts(settings, database, vault, Keys(database, vault), away)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        database.open()
        parts.keys.open()
        yield
        database.close()

    app = docs.described("Auth", lifespan)
    app.state.parts = parts
    app.state.schema = "auth"
    app.state.database = database
    app.add_middleware(Edge, token=settings.token, guarded=OPERATORS)
    app.add_middleware(SafeHeaders, https=settings.https)
    problems.install(app)
    docs.install(app)
    for module in (endpoints, authorize, login, second, set_up, sso, enrol, account, password, logout):
        app.include_router(module.router)
    for router in (
        users.router,
        upstreams.router,
        reads.history("auth", events.AGGREGATES),
    ):
        # For the documentation: the edge has checked the token before anything gets here.
        app.include_router(router, prefix=OPERATORS, dependencies=[Depends(HTTPBearer(auto_error=False))])
    app.mount("/static", StaticFiles(directory=render.FOLDER / "static"))

    @app.exception_handler(FlowLost)
    def lost(request: Request, _: FlowLost) -> Response:
        return render.page(
            parts,
            request,
            "message.html",
            status=422,
            title="This login has expired",
            text="It took too long, or was begun in another browser. Go back to where you came from and begin again.",
            detail=None,
        )

    @app.exception_handler(LoginFirst)
    def login_first(request: Request, _: LoginFirst) -> Response:
        return to_login(request, parts)

    @app.get("/healthz", summary="Tell whether the service is well")
    def healthz() -> Response:
        """200 when the database answers, 503 when not. Needs no token."""
        alive = database.alive()
        return JSONResponse({"database": alive}, 200 if alive else 503)

    return app
