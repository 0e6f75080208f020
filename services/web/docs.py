"""/docs: the service's OpenAPI document, shown by Swagger UI. All of it comes from this process.

FastAPI's own page loads its script from a public host. Where medical records are, a browser asks no foreign host, and
there is often no way to one: the files come from a package, and the page's policy refuses every other origin.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from services.web import problems

PATH = "/docs"
_HEADERS = """
Each call names the tenant it acts for (`X-Tenant`). A command also says who acts (`X-Actor`) and carries an
`Idempotency-Key`: sent again under its key it happens once and gets the same answer. What changes something that exists
names the version it saw (`If-Match`, from the `ETag`). Every refusal is `application/problem+json` with the fix.
"""
_FILES = f"{PATH}/files"
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def described(title: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    """An application whose document says what holds for every call; `install` shows it."""
    return FastAPI(
        title=title,
        version="1",
        description=_HEADERS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={"default": problems.DOCUMENTED},
    )


def install(app: FastAPI) -> None:
    """GET /docs. The page is made once; the browser reads the document that it names."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",  # beside it, also behind a proxy that puts the service below a path
        title=f"{app.title} API",
        swagger_js_url="docs/files/swagger-ui-bundle.js",
        swagger_css_url="docs/files/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"defaultModelsExpandDepth": 0},  # the bodies are shown where they are sent
    )
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE.findall(bytes(page.body))
    )
    policy = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )

    @app.get(PATH, include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page.body, headers={"Content-Security-Policy": policy})

    app.mount(_FILES, StaticFiles(packages=[("fastapi_offline", "static")]))
