"""The asset service: ``python -m services.asset`` (127.0.0.1:8000 unless told otherwise).

Needs ASSET_DSN and ASSET_TOKEN; see web/settings and, for what the token proves and what not, web/call.
"""

from __future__ import annotations

from fastapi import FastAPI

from services.asset import events
from services.asset.api import assignments, check, contracts, devices, licenses, products
from services.web.app import Service, build
from services.web.settings import Settings

# The check comes before the licenses: its path would else be taken for a license's id.
_PARTS = (products, contracts, check, licenses, assignments, devices)
SERVICE = Service("asset", tuple(part.router for part in _PARTS), events.AGGREGATES)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Raises StartupError for a bad environment."""
    return build(SERVICE, settings)
