"""The directory service: ``python -m services.directory`` (127.0.0.1:8000 unless told otherwise).

Needs DIRECTORY_DSN and DIRECTORY_TOKEN; see web/settings and, for what the token proves and what not, web/call.
"""

from __future__ import annotations

from fastapi import FastAPI

from services.directory import events
from services.directory.api import memberships, organisations, pharmacies, role_grants, tenants, users
from services.web.app import Service, build
from services.web.settings import Settings

_PARTS = (tenants, organisations, pharmacies, users, memberships, role_grants)
SERVICE = Service("directory", tuple(part.router for part in _PARTS), events.AGGREGATES)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Raises StartupError for a bad environment."""
    return build(SERVICE, settings)
