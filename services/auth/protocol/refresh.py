"""Refresh: each token once. One that comes a second time was stolen, or its successor was: the family is revoked."""

from __future__ import annotations

from dataclasses import dataclass

from authlib.oauth2.rfc6749 import InvalidGrantError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant

from services.auth import grants, sessions
from services.auth.clients import Client
from services.auth.grants import RefreshToken
from services.auth.handle import Handle
from services.auth.protocol.code import TOKEN_AUTH_METHODS
from services.auth.protocol.tokens import Subject, subject_of


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A refresh token as Authlib asks about it."""

    token: RefreshToken

    def check_client(self, client: Client) -> bool:
        return self.token.grant.client_id == client.client_id

    def get_scope(self) -> str:
        return self.token.grant.scope


class RefreshGrant(RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = TOKEN_AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> HeldToken | None:
        handle = Handle.parse(refresh_token)
        held = grants.lock_refresh_token(self.server.transaction, handle) if handle else None
        return HeldToken(held) if held else None

    def authenticate_user(self, refresh_token: HeldToken) -> Subject:
        """Raises InvalidGrantError: used before, revoked, the session over, or the person gone."""
        transaction = self.server.transaction
        if refresh_token.token.used:
            grants.revoke(transaction, refresh_token.token.grant.id, "token_reused")
            raise InvalidGrantError()
        subject = subject_of(transaction, refresh_token.token.grant, self.server.settings.session_idle)
        if subject is None:
            raise InvalidGrantError()
        sessions.touch(transaction, subject.session.id)
        return subject

    def revoke_old_credential(self, refresh_token: HeldToken) -> None:
        grants.use_refresh_token(self.server.transaction, refresh_token.token)
