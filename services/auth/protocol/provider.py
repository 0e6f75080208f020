"""The authorization server (Authlib), one per request: everything that it reads and writes is in one transaction.

Code with S256 PKCE and refresh tokens, nothing else. Refusals that change something, like the reuse of a code, are
committed with their answer: an answer is never raised out of the transaction.
"""

from __future__ import annotations

from typing import Any

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidRequestError

from services.auth import clients
from services.auth.clients import Client
from services.auth.keys import Keys
from services.auth.protocol.code import CodeGrant, IdToken, Pkce
from services.auth.protocol.inspect import Introspection, Revocation
from services.auth.protocol.refresh import RefreshGrant
from services.auth.protocol.tokens import ACCESS_TOKEN_LIFE, access_token
from services.auth.protocol.wire import Reply, WireRequest
from services.auth.sessions import Session
from services.auth.settings import Settings
from services.shared.transaction import TenantTransaction


class Provider(AuthorizationServer):
    def __init__(self, settings: Settings, keys: Keys, transaction: TenantTransaction) -> None:
        super().__init__(scopes_supported=None)
        self.settings, self.keys, self.transaction = settings, keys, transaction
        self._asked: dict[str, Client | None] = {}
        self.register_grant(CodeGrant, [IdToken(), Pkce()])
        self.register_grant(RefreshGrant, [IdToken()])
        self.register_endpoint(Introspection)
        self.register_endpoint(Revocation)
        self.register_token_generator("default", self._tokens)

    # What Authlib asks for

    def query_client(self, client_id: str) -> Client | None:
        if client_id not in self._asked:
            self._asked[client_id] = clients.find(self.transaction, client_id)
        return self._asked[client_id]

    def create_oauth2_request(self, request: WireRequest) -> WireRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Reply:
        return Reply.of(status, body, headers)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def save_token(self, token: dict[str, Any], request: WireRequest) -> None:
        """The refresh token is kept where it is made; an access token is kept by nobody."""

    def _tokens(self, *, client: Client, user: Any, scope: str, **_: Any) -> dict[str, Any]:
        """``user`` is what the grant in hand knows: see protocol.tokens.Subject."""
        token = {
            "token_type": "Bearer",
            "access_token": access_token(self.settings, self.keys, user, client, scope),
            "expires_in": int(ACCESS_TOKEN_LIFE.total_seconds()),
            "scope": scope,
        }
        if client.may_refresh:
            token["refresh_token"] = user.new_refresh_token(self.transaction)
        return token

    # The authorization endpoint

    def check_authorization(self, request: WireRequest, session: Session | None) -> CodeGrant:
        """The grant that is asked for; its ``prompt`` says what has to be shown although there is a session.

        Raises OAuth2Error, with a redirect_uri if there is one that can be trusted.
        """
        grant: CodeGrant = self.get_consent_grant(request, end_user=session)
        return grant

    def refuse_authorization(self, request: WireRequest, error: OAuth2Error) -> Reply:
        """Sends the browser back with the error. Raises it when there is nowhere safe to send it."""
        if not error.redirect_uri:
            raise error
        error.state = request.payload.state
        return self._from_us(self.handle_error_response(request, error))

    def authorize(self, request: WireRequest, session: Session) -> Reply:
        """Issue a code for a session that satisfies the request. Raises OAuth2Error where there is nowhere to go."""
        grant = self.get_authorization_grant(request)
        return self._from_us(self.create_authorization_response(request, grant_user=session, grant=grant))

    def _from_us(self, reply: Reply) -> Reply:
        """Name ourselves in the answer (RFC 9207), so that a client with two providers can't be confused."""
        if reply.location is None:
            raise InvalidRequestError()
        return Reply.of(
            reply.status, reply.body, [("Location", add_params_to_uri(reply.location, {"iss": self.settings.issuer}))]
        )
