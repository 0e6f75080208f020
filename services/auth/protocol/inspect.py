"""Introspection (RFC 7662) and revocation (RFC 7009): what a token is worth now, and that it be worth nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from services.auth import grants
from services.auth.clients import Client
from services.auth.grants import Grant
from services.auth.handle import Handle
from services.auth.protocol.code import TOKEN_AUTH_METHODS
from services.auth.protocol.tokens import AccessToken, Subject, read_access_token, subject_of
from services.auth.protocol.wire import WireRequest


@dataclass(frozen=True, slots=True)
class FoundToken:
    """An access or refresh token, its family, and whom it is about if it is worth anything."""

    grant: Grant
    subject: Subject | None
    access: AccessToken | None
    used: bool = False

    def check_client(self, client: Client) -> bool:
        return self.grant.client_id == client.client_id

    def is_expired(self) -> bool:
        return self.subject is None

    def is_revoked(self) -> bool:
        return self.used


class _Finding:
    server: Any

    def query_token(self, text: str, _: str | None) -> FoundToken | None:
        transaction, settings = self.server.transaction, self.server.settings
        access = read_access_token(settings, self.server.keys, text)
        if access is not None:
            grant, used = grants.find(transaction, access.grant_id), False
        else:
            handle = Handle.parse(text)
            held = grants.lock_refresh_token(transaction, handle) if handle else None
            grant, used = (held.grant, held.used) if held else (None, False)
        if grant is None:
            return None
        return FoundToken(grant, subject_of(transaction, grant, settings.session_idle), access, used)


class Introspection(_Finding, IntrospectionEndpoint):
    """For products that are registered to ask; they ask about any product's tokens, as a resource server has to."""

    CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    def check_permission(self, *_: Any) -> bool:
        return True  # who may not ask was refused when it said who it is

    def introspect_token(self, token: FoundToken) -> dict[str, Any]:
        if token.access is not None:
            kept = ("iss", "aud", "sub", "client_id", "scope", "iat", "exp", "jti", "auth_time", "acr", "amr", "sid")
            return {"token_type": "Bearer", **{name: token.access.claims[name] for name in (*kept, "tenant_id")}}
        assert token.subject is not None
        return {
            "sub": str(token.grant.user_id),
            "client_id": token.grant.client_id,
            "scope": token.grant.scope,
            "exp": int(token.subject.session.expires_at.timestamp()),
            "sid": str(token.grant.session_id),
            "tenant_id": str(token.grant.tenant_id),
        }


class Revocation(_Finding, RevocationEndpoint):
    """Either token revokes the whole family: what the product has lost, it has lost."""

    CLIENT_AUTH_METHODS = TOKEN_AUTH_METHODS

    def revoke_token(self, token: FoundToken, _: WireRequest) -> None:
        grants.revoke(self.server.transaction, token.grant.id, "client")
