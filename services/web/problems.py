"""Every refusal as application/problem+json (RFC 9457), with ``fix``: what the caller does next.

{"type": "urn:rireki:problem:version-conflict", "title": "version conflict", "status": 412,
 "detail": "…", "fix": "…", "request_id": "…", "errors": [{"field": "body.name", "what": "…"}]}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.shared.errors import InvalidRequest, ServiceError, Unavailable

DOCUMENTED: dict[str, Any] = {
    "description": "Refused: what happened, and the fix",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "fix", "request_id"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "fix": {"type": "string"},
                    "request_id": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}

_log = logging.getLogger("services.web")


def problem(
    error: ServiceError,
    *,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    content = {
        "type": f"urn:rireki:problem:{error.kind}",
        "title": error.kind.replace("-", " "),
        "status": error.status,
        "detail": error.what,
        "fix": error.fix,
        "request_id": request_id or str(uuid4()),
        **more,
    }
    sent = {**(headers or {}), "X-Request-Id": content["request_id"]}
    if isinstance(error, Unavailable):
        sent["Retry-After"] = "1"
    return JSONResponse(content, error.status, sent, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    @app.exception_handler(ServiceError)
    def refused(request: Request, error: ServiceError) -> JSONResponse:
        return problem(error, request_id=_request_id(request))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Neither the value nor its context is repeated: it may be long, and it may be somebody's address.
        errors = [
            {"field": ".".join(str(part) for part in found["loc"]), "what": found["msg"]} for found in error.errors()
        ]
        first = errors[0] if errors else {"field": "request", "what": "invalid"}
        return problem(
            InvalidRequest(f"{first['field']}: {first['what']}"), request_id=_request_id(request), errors=errors
        )

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        refusal = ServiceError(str(error.detail), fix="the paths and methods are described at /docs")
        response = problem(refusal, request_id=_request_id(request), status=error.status_code, title="http error")
        response.status_code = error.status_code
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> JSONResponse:
        request_id = _request_id(request) or str(uuid4())
        _log.error("request %s failed", request_id, exc_info=error)
        return problem(ServiceError("the service failed; nothing was changed"), request_id=request_id)


def _request_id(request: Request) -> str | None:
    given = request.headers.get("x-request-id", "")
    return given if given.isascii() and given.isprintable() and 0 < len(given) <= 200 else None
