"""Server-rendered pages: they work without scripts, except for a passkey, which the browser only gives to one."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.auth.pages import flow as flows
from services.auth.pages.flow import Flow
from services.auth.parts import Parts

FOLDER = Path(__file__).parent
_templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page(
    parts: Parts,
    request: Request,
    template: str,
    *,
    status: int = 200,
    flow: Flow | None = None,
    goes_to: str | None = None,
    refresh: str | None = None,
    **shown: Any,
) -> HTMLResponse:
    """``goes_to``: an address that a form's answer may redirect to; browsers hold redirects to form-action, too."""
    if flow is not None:
        shown["flow"] = flows.pack(parts, request, flow)
        goes_to = goes_to or (flow.authorize or {}).get("redirect_uri")
    text = _templates.get_template(template).render(refresh=refresh, **shown)
    response = HTMLResponse(text, status)
    response.headers["Content-Security-Policy"] = _policy(goes_to)
    flows.mark_browser(parts, request, response)
    return response


def fingerprint(name: str) -> str:
    """Changes with a static file's content, so that browsers may keep it for long."""
    digest = hashlib.sha256((FOLDER / "static" / name).read_bytes()).digest()
    return base64.urlsafe_b64encode(digest[:9]).decode()


_templates.globals["static"] = {
    path.name: f"/static/{path.name}?{fingerprint(path.name)}" for path in (FOLDER / "static").iterdir()
}


def _policy(goes_to: str | None) -> str:
    parts = urlsplit(goes_to or "")
    to = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        f"form-action 'self'{to}; frame-ancestors 'none'; base-uri 'none'"
    )
