"""What every request passes before anything reads its body: the token, and the limit on its size."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.shared.errors import ServiceError, Unauthenticated
from services.web import docs
from services.web.problems import problem

MAX_BODY_BYTES = 64 * 1024  # ten times the longest command
_OPEN_PATHS = frozenset({"/healthz", docs.PATH, "/openapi.json"})  # they tell nothing about any tenant
_OPEN_FILES = f"{docs.PATH}/"


class BodyTooLarge(ServiceError):
    status = 413
    kind = "body-too-large"
    default_fix = f"send at most {MAX_BODY_BYTES} bytes"


class Edge:
    """ASGI middleware. A client without the token learns nothing, not even whether its JSON was well formed.

    ``guarded``: what paths begin with that ask for the token.
    """

    def __init__(self, app: ASGIApp, *, token: str, guarded: str = "/") -> None:
        self._app, self._guarded = app, guarded
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("authorization", "").encode("latin-1")
        path = scope["path"]
        asks = path.startswith(self._guarded) and path not in _OPEN_PATHS and not path.startswith(_OPEN_FILES)
        if asks and not hmac.compare_digest(given, self._expected):
            error: ServiceError = Unauthenticated("the token is missing or wrong")
            await problem(error, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        try:
            body = await _body(receive)
        except BodyTooLarge as error:
            await problem(error, headers={"Connection": "close"})(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


async def _body(receive: Receive) -> bytes:
    """Raises BodyTooLarge; reads no more than the limit, whatever Content-Length says."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge("the body is too large")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
