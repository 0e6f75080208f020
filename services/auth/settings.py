"""Configuration from the environment, checked once."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from services.shared.errors import StartupError

_SHORTEST_TOKEN = 16
_MASTER_KEY_BYTES = 32
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Settings:
    """``AUTH_DSN``, ``AUTH_TOKEN``, ``AUTH_MASTER_KEY`` (or ``…_FILE`` naming a file) and ``AUTH_ISSUER`` are required.

    ``AUTH_MAX_CONNECTIONS`` defaults to 8: more than two cores can use, far below the role's limit of 30.
    ``AUTH_IDLE_MINUTES`` defaults to 30: a pharmacy's counter is left alone for shorter than that while it is open.
    ``AUTH_SESSION_HOURS`` defaults to 12: the longest working day; everybody logs in each morning.
    """

    dsn: str = field(repr=False)
    token: str = field(repr=False)
    master_key: bytes = field(repr=False)
    issuer: str
    max_connections: int = 8
    session_idle: timedelta = timedelta(minutes=30)
    session_length: timedelta = timedelta(hours=12)

    @property
    def https(self) -> bool:
        return self.issuer.startswith("https://")

    @property
    def host(self) -> str:
        """What WebAuthn credentials are bound to."""
        return urlsplit(self.issuer).hostname or ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises StartupError naming the variable."""
        token = secret_of(environment, "AUTH_TOKEN")
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise StartupError(
                f"must be at least {_SHORTEST_TOKEN} printable ASCII characters without spaces",
                subject="AUTH_TOKEN",
                fix="python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return cls(
            dsn=secret_of(environment, "AUTH_DSN"),
            token=token,
            master_key=master_key_of(secret_of(environment, "AUTH_MASTER_KEY")),
            issuer=_issuer(environment.get("AUTH_ISSUER", "")),
            max_connections=_whole(environment, "AUTH_MAX_CONNECTIONS", 8, 1, 30),
            session_idle=timedelta(minutes=_whole(environment, "AUTH_IDLE_MINUTES", 30, 1, 24 * 60)),
            session_length=timedelta(hours=_whole(environment, "AUTH_SESSION_HOURS", 12, 1, 24 * 30)),
        )


def master_key_of(text: str) -> bytes:
    try:
        key = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _MASTER_KEY_BYTES:
        raise StartupError(
            f"must be {_MASTER_KEY_BYTES} bytes in base64",
            subject="AUTH_MASTER_KEY",
            fix="python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'",
        )
    return key


def _issuer(text: str) -> str:
    fix = "set AUTH_ISSUER to the address that browsers use, e.g. https://login.example.com"
    if not text:
        raise StartupError("is not set", subject="AUTH_ISSUER", fix=fix)
    try:
        parts = urlsplit(text)
        usable = parts.hostname is not None and not (parts.path or parts.query or parts.fragment or parts.username)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError:
        usable = secure = False
    if not usable or not secure:
        raise StartupError(f"must be https, and an origin without a path: {text!r}", subject="AUTH_ISSUER", fix=fix)
    return text


def _whole(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise StartupError(
            f"must be {least} … {most}, got {text}", subject=name, fix=f"leave it out, or set e.g. {default}"
        )
    return int(text)


def secret_of(environment: Mapping[str, str], name: str) -> str:
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
