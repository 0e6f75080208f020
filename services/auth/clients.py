"""The products that users log in to, as registered. Whoever changes one acts for nobody (handle.NOBODY)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from psycopg.rows import DictRow

from services.auth.events import CLIENT_ENDED, CLIENT_REGISTERED, CLIENT_SECRET_ADDED, CLIENT_SECRETS_ENDED
from services.auth.secrets import among_secrets
from services.shared.errors import Conflict, InvalidRequest, NotFound
from services.shared.event import EventType, record
from services.shared.transaction import TenantTransaction

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
SCOPES = ("openid", "profile", "affiliations")
_CLIENT_ID = re.compile(r"\A[a-z0-9][a-z0-9_.-]{2,63}\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


@dataclass(frozen=True, slots=True)
class Client:
    client_id: str
    name: str
    auth_method: AuthMethod
    redirect_uris: list[str]
    post_logout_redirect_uris: list[str]
    scopes: list[str]
    may_refresh: bool
    may_introspect: bool
    requires_second_factor: bool
    secret_hashes: tuple[bytes, ...] = ()

    # What Authlib asks of a client

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        """It has to be said each time."""
        return

    def get_allowed_scope(self, scope: str | None) -> str | None:
        asked = (scope or "").split()
        return " ".join(name for name in SCOPES if name in asked and name in self.scopes)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """To the character."""
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        given = hashlib.sha256(client_secret.encode()).digest()
        return any(hmac.compare_digest(given, kept) for kept in self.secret_hashes)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        if endpoint == "introspection" and not self.may_introspect:
            return False
        return method == self.auth_method

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code" or (grant_type == "refresh_token" and self.may_refresh)

    @property
    def client_metadata(self) -> dict[str, Any]:
        return {"post_logout_redirect_uris": self.post_logout_redirect_uris}


def find(transaction: TenantTransaction, client_id: str) -> Client | None:
    row = transaction.row(
        "SELECT client_id, name, auth_method, redirect_uris, post_logout_redirect_uris, scopes, may_refresh, "
        "may_introspect, requires_second_factor FROM auth.clients WHERE client_id = %s AND ended_at IS NULL",
        (client_id,),
    )
    if row is None:
        return None
    hashes: tuple[bytes, ...] = ()
    if row["auth_method"] != "none":
        with among_secrets(transaction):
            hashes = tuple(
                bytes(found["secret_hash"])
                for found in transaction.rows(
                    "SELECT secret_hash FROM auth.client_secrets WHERE client_id = %s AND ended_at IS NULL",
                    (client_id,),
                )
            )
    return Client(**row, secret_hashes=hashes)


def register(
    transaction: TenantTransaction,
    client_id: str,
    name: str,
    *,
    auth_method: AuthMethod,
    redirect_uris: Sequence[str],
    post_logout_redirect_uris: Sequence[str] = (),
    may_refresh: bool = True,
    may_introspect: bool = False,
    requires_second_factor: bool = False,
) -> str | None:
    """The new client's secret, told this once; None for a public one. Raises Conflict, InvalidRequest."""
    if _CLIENT_ID.match(client_id) is None:
        raise InvalidRequest(f"{client_id!r} is no client_id", fix="3 to 64 of a-z, 0-9, dot, hyphen, underscore")
    if not 1 <= len(name) <= 100:
        raise InvalidRequest("the name must have 1 to 100 characters")
    if may_introspect and auth_method == "none":
        raise InvalidRequest("a public client may not introspect", fix="choose client_secret_basic")
    if not 1 <= len(redirect_uris) <= 20:
        raise InvalidRequest("a client needs 1 to 20 redirect addresses")
    for uri in (*redirect_uris, *post_logout_redirect_uris):
        _refuse_unsafe(uri)
    id = uuid4()
    touched = transaction.execute(
        "INSERT INTO auth.clients (id, tenant_id, version, client_id, name, auth_method, redirect_uris, "
        "post_logout_redirect_uris, scopes, may_refresh, may_introspect, requires_second_factor) "
        "VALUES (%s, %s, 1, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (client_id) DO NOTHING",
        (
            id,
            transaction.tenant_id,
            client_id,
            name,
            auth_method,
            list(redirect_uris),
            list(post_logout_redirect_uris),
            list(SCOPES),
            may_refresh,
            may_introspect,
            requires_second_factor,
        ),
    )
    if touched == 0:
        raise Conflict(f"there is a client {client_id} already", fix="choose another client_id")
    record(transaction, CLIENT_REGISTERED, id, 1)
    if auth_method == "none":
        return None
    return _new_secret(transaction, client_id)


def add_secret(transaction: TenantTransaction, client_id: str) -> str:
    """One more, told this once; the earlier ones work until they are ended. Raises NotFound, Conflict."""
    client = _take(transaction, client_id)
    if client["auth_method"] == "none":
        raise Conflict(f"{client_id} is a public client: it has no secret")
    _change(transaction, client["id"], CLIENT_SECRET_ADDED)
    return _new_secret(transaction, client_id)


def end_old_secrets(transaction: TenantTransaction, client_id: str) -> int:
    """All but the newest stop working. How many. Raises NotFound."""
    client = _take(transaction, client_id)
    with among_secrets(transaction):
        ended = transaction.execute(
            "UPDATE auth.client_secrets AS s SET ended_at = now() WHERE client_id = %(id)s AND ended_at IS NULL AND "
            "created_at < (SELECT max(created_at) FROM auth.client_secrets WHERE client_id = %(id)s)",
            {"id": client_id},
        )
    if ended:
        _change(transaction, client["id"], CLIENT_SECRETS_ENDED)
    return ended


def end(transaction: TenantTransaction, client_id: str) -> None:
    """Nobody logs in to it any more, and its refresh tokens stop working. Raises NotFound."""
    _change(transaction, _take(transaction, client_id)["id"], CLIENT_ENDED, ends=True)


def registered(transaction: TenantTransaction) -> list[dict[str, Any]]:
    """All that haven't ended, as they were registered, each with the number of its secrets."""
    found = transaction.rows(
        "SELECT id, client_id, name, auth_method, redirect_uris, post_logout_redirect_uris, may_refresh, "
        "may_introspect, requires_second_factor, created_at FROM auth.clients WHERE ended_at IS NULL ORDER BY client_id"
    )
    with among_secrets(transaction):
        counted = transaction.rows(
            "SELECT client_id, count(*) AS n FROM auth.client_secrets WHERE ended_at IS NULL GROUP BY client_id"
        )
    secrets_of = {row["client_id"]: row["n"] for row in counted}
    return [{**row, "secrets": secrets_of.get(row["client_id"], 0)} for row in found]


def _take(transaction: TenantTransaction, client_id: str) -> DictRow:
    """Kept from others until the end: they take turns."""
    row = transaction.row(
        "SELECT id, auth_method FROM auth.clients WHERE client_id = %s AND ended_at IS NULL FOR NO KEY UPDATE",
        (client_id,),
    )
    if row is None:
        raise NotFound(f"there is no client {client_id}", fix="python -m services.auth.registry clients list")
    return row


def _change(transaction: TenantTransaction, id: UUID, event_type: EventType, *, ends: bool = False) -> None:
    row = transaction.row(
        "UPDATE auth.clients SET version = version + 1, ended_at = CASE WHEN %s THEN now() END "
        "WHERE id = %s RETURNING version",
        (ends, id),
    )
    assert row is not None
    record(transaction, event_type, id, row["version"])


def _new_secret(transaction: TenantTransaction, client_id: str) -> str:
    secret = secrets.token_urlsafe(32)
    with among_secrets(transaction):
        transaction.execute(
            "INSERT INTO auth.client_secrets (client_id, secret_hash) VALUES (%s, %s)",
            (client_id, hashlib.sha256(secret.encode()).digest()),
        )
    return secret


def _refuse_unsafe(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        whole = bool(parts.hostname) and not parts.fragment and parts.username is None
    except ValueError:
        safe = whole = False
    if not (safe and whole and uri.isascii() and uri.isprintable() and not set(uri) & set(' "\\')):
        raise InvalidRequest(
            f"{uri!r} is no address to send people to", fix="https://…, or http:// on the loopback; no fragment"
        )
