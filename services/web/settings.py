"""Configuration from the environment, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.shared.errors import StartupError

_SHORTEST_TOKEN = 16
_DEFAULT_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """``<SERVICE>_DSN`` and ``<SERVICE>_TOKEN`` (or ``…_FILE`` naming a file) are required.

    ``<SERVICE>_MAX_CONNECTIONS`` defaults to 8: more than two cores can use, far below the role's limit of 30.
    """

    dsn: str = field(repr=False)
    token: str = field(repr=False)
    max_connections: int = _DEFAULT_CONNECTIONS

    @classmethod
    def from_environment(cls, service: str, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises StartupError naming the variable."""
        prefix = service.upper()
        token = _secret(environment, f"{prefix}_TOKEN")
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise StartupError(
                f"must be at least {_SHORTEST_TOKEN} printable ASCII characters without spaces",
                subject=f"{prefix}_TOKEN",
                fix="python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        connections = f"{prefix}_MAX_CONNECTIONS"
        text = environment.get(connections, str(_DEFAULT_CONNECTIONS))
        if not text.isdecimal() or not 1 <= int(text) <= 30:
            raise StartupError(f"must be 1 … 30, got {text}", subject=connections, fix="leave it out, or set e.g. 8")
        return cls(dsn=_secret(environment, f"{prefix}_DSN"), token=token, max_connections=int(text))


def _secret(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    path = environment.get(f"{name}_FILE")
    if value:
        return value
    if path:
        try:
            return Path(path).read_text("utf-8").strip()
        except OSError as error:
            raise StartupError(str(error.strerror), subject=f"{name}_FILE", fix=f"check the path {path}") from error
    raise StartupError("is not set", subject=name, fix=f"set {name}, or {name}_FILE to a file that holds it")
